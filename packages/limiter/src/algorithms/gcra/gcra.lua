-- gcra in a STRING: the theoretical arrival time, µs. Mirrors gcra.ts, number for number.
local M = {}
local EPSILON = 0.5

-- Never more than the capacity is owed: it may have been lowered, or Redis' clock set back.
local function debt(state, now, l)
  return math.min(math.max(0, state.tat - now), l.capacity * l.window / l.limit)
end

function M.load(key, now, l)
  return { key = key, tat = tonumber(redis.call('GET', key) or now) }
end

function M.available(state, now, l)
  local step = l.window / l.limit
  local room = l.capacity * step - debt(state, now, l) + EPSILON
  return math.min(l.capacity, math.max(0, math.floor(room / step)))
end

local function save(state, now)
  local ttl = math.ceil((state.tat - now) / 1000) + 1
  if ttl > 1 then redis.call('SET', state.key, string.format('%.17g', state.tat), 'PX', ttl) end
end

function M.take(state, now, l, cost)
  state.tat = now + debt(state, now, l) + cost * (l.window / l.limit)
  save(state, now)
end

function M.refund(key, now, l, cost)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local state = M.load(key, now, l)
  local step = l.window / l.limit
  local owed = debt(state, now, l)
  local back = math.min(owed, cost * step)
  state.tat = now + owed - back
  if state.tat > now then save(state, now) else redis.call('DEL', key) end
  return math.floor(back / step + 0.5)
end

function M.wait(state, now, l, cost)
  local wait = debt(state, now, l) - (l.capacity - cost) * (l.window / l.limit)
  if wait <= EPSILON then return 0 end
  return math.ceil(wait)
end

return M
