-- sliding_window: the exact log. Mirrors sliding-window.ts. Needs `log()` (log.lua).
-- state: key, size, head (time of the oldest entry, or false)
local M = {}

-- Twice the window and 1 ms from the first entry outlives every entry that comes before the first one goes, which is when it is
-- older than the window; then it is renewed, whether something is taken or not.
function M.renew(state, l)
  if state.size > 0 then redis.call('PEXPIRE', state.key, l.ttl) end
end

function M.load(key, now, l)
  local head = tonumber(redis.call('LINDEX', key, '0') or nil)
  if not head then return { key = key, size = 0 } end
  local size = redis.call('LLEN', key)
  if head > now then
    -- Redis' clock was set back: a log from the future would refuse for as long.
    redis.call('DEL', key)
    return { key = key, size = 0 }
  end
  local state = { key = key, size = size, head = head }
  if head < now - l.window then
    state.size = size - log().expire(key, now - l.window, size)
    state.head = state.size > 0 and tonumber(redis.call('LINDEX', key, '0')) or nil
    M.renew(state, l)
  end
  return state
end

function M.available(state, now, l)
  return math.max(0, l.limit - state.size)
end

function M.take(state, now, l, cost, nowText)
  for _ = 1, cost do redis.call('RPUSH', state.key, nowText) end
  local first = state.size == 0
  state.size = state.size + cost
  if first then M.renew(state, l) end
  state.head = state.head or now
end

function M.refund(key, now, l, cost, takenAt)
  local state = M.load(key, now, l) -- drops what has expired: that came back by itself
  local gone = redis.call('LREM', key, -cost, string.format('%.0f', takenAt))
  state.size = state.size - gone
  M.renew(state, l) -- it may have been the first
  return gone
end

function M.wait(state, now, l, cost)
  local mustLeave = state.size + cost - l.limit
  if mustLeave <= 0 then return 0 end
  local entry = mustLeave == 1 and state.head or tonumber(redis.call('LINDEX', state.key, mustLeave - 1))
  return entry + l.window + 1 - now
end

return M
