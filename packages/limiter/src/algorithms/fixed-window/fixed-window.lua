-- fixed_window in a STRING: "start count". Mirrors fixed-window.ts.
local M = {}

function M.load(key, now, l)
  local stored = redis.call('GET', key)
  if stored then
    local start, count = string.match(stored, '^(%d+) (%d+)$')
    start = tonumber(start)
    if now >= start and now - start < l.window then return { key = key, start = start, count = tonumber(count) } end
  end
  return { key = key, start = now, count = 0 }
end

function M.available(state, now, l)
  return math.max(0, l.limit - state.count)
end

local function save(state, now, l)
  local ttl = math.ceil((state.start + l.window - now) / 1000) + 1
  redis.call('SET', state.key, string.format('%.0f %d', state.start, state.count), 'PX', ttl)
end

function M.take(state, now, l, cost)
  if state.count == 0 then state.start = now end
  state.count = state.count + cost
  save(state, now, l)
end

function M.refund(key, now, l, cost, takenAt)
  local state = M.load(key, now, l)
  if takenAt < state.start or state.count == 0 then return 0 end
  local back = math.min(state.count, cost)
  state.count = state.count - back
  save(state, now, l)
  return back
end

function M.wait(state, now, l, cost)
  return l.limit - state.count >= cost and 0 or state.start + l.window - now
end

return M
