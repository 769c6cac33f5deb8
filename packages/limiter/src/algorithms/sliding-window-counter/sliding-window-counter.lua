-- sliding_window_counter in a STRING: "start current previous". Mirrors sliding-window-counter.ts, number for number.
local M = {}
local SLACK = 1e-12

function M.load(key, now, l)
  local start = math.floor(now / l.window) * l.window
  local state = { key = key, start = start, current = 0, previous = 0 }
  local stored = redis.call('GET', key)
  if stored then
    local from, current, previous = string.match(stored, '^(%d+) (%d+) (%d+)$')
    from = tonumber(from)
    if from == start then
      state.current, state.previous = tonumber(current), tonumber(previous)
    elseif from + l.window == start then
      state.previous = tonumber(current)
    end
  end
  return state
end

function M.available(state, now, l)
  local estimate = state.current + state.previous * (l.window - (now - state.start)) / l.window
  return math.max(0, math.floor(l.limit * (1 + SLACK) - estimate))
end

local function save(state, now, l)
  local ttl = math.ceil((state.start + 2 * l.window - now) / 1000) + 1
  redis.call('SET', state.key, string.format('%.0f %d %d', state.start, state.current, state.previous), 'PX', ttl)
end

function M.take(state, now, l, cost)
  state.current = state.current + cost
  save(state, now, l)
end

function M.refund(key, now, l, cost, takenAt)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local state = M.load(key, now, l)
  local from = math.floor(takenAt / l.window) * l.window
  local bucket = from == state.start and 'current' or from == state.start - l.window and 'previous'
  if not bucket then return 0 end
  local back = math.min(state[bucket], cost)
  state[bucket] = state[bucket] - back
  save(state, now, l)
  return back
end

local function fallsTo(weight, room, window)
  return math.ceil(window * (weight - room) / weight)
end

function M.wait(state, now, l, cost)
  if M.available(state, now, l) >= cost then return 0 end
  local room = l.limit - state.current - cost
  local elapsed = now - state.start
  if room >= 0 and state.previous > 0 then return fallsTo(state.previous, room, l.window) - elapsed end
  return l.window - elapsed + math.max(0, fallsTo(state.current, l.limit - cost, l.window))
end

return M
