-- gcra in a STRING: "tat" or "tat part", the theoretical arrival time as whole µs and the fraction beyond, where there is one.
-- Mirrors gcra.ts, number for number.
local M = {}
local SLACK = 1e-12

local function owe(state, now, us)
  local whole = math.floor(us)
  state.tat = now + whole
  state.part = us - whole
end

local function save(state, now)
  local owed = state.tat - now + state.part
  local ttl = math.ceil(owed / 1000) + 1
  local text = string.format(state.part == 0 and '%.0f' or '%.0f %.17g', state.tat, state.part)
  if owed > 0 then redis.call('SET', state.key, text, 'PX', ttl)
  else redis.call('DEL', state.key) end
end

-- A lowered limit or burst (or a clock set back) clamps what was owed, for good.
local function debt(state, now, l)
  local most = l.capacity * (l.window / l.limit)
  local owed = state.tat - now + state.part
  if owed > most then
    owe(state, now, most)
    save(state, now)
  end
  return math.min(most, math.max(0, owed))
end

function M.load(key, now, l)
  local stored = redis.call('GET', key)
  if not stored then return { key = key, tat = now, part = 0 } end
  local tat, part = string.match(stored, '^(%S+) ?(%S*)$')
  return { key = key, tat = tonumber(tat), part = tonumber(part) or 0 }
end

function M.available(state, now, l)
  return math.max(0, math.floor(l.capacity * (1 + SLACK) - debt(state, now, l) / (l.window / l.limit)))
end

function M.take(state, now, l, cost)
  owe(state, now, debt(state, now, l) + cost * (l.window / l.limit))
  save(state, now)
end

function M.refund(key, now, l, cost)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local state = M.load(key, now, l)
  local owed = debt(state, now, l)
  local back = math.min(owed, cost * (l.window / l.limit))
  owe(state, now, owed - back)
  save(state, now)
  return math.floor(back / (l.window / l.limit) + 0.5)
end

function M.wait(state, now, l, cost)
  local may = (l.capacity * (1 + SLACK / 2) - cost) * (l.window / l.limit)
  return math.max(0, math.ceil(debt(state, now, l) - may))
end

return M
