-- token_bucket in a HASH: tokens, last_refill (µs). Mirrors token-bucket.ts, number for number.
local M = {}
local SLACK = 1e-12

local function tokensAt(state, now, l)
  return math.min(l.capacity, state.tokens + math.max(0, now - state.last) * l.limit / l.window)
end

function M.load(key, now, l)
  local stored = redis.call('HMGET', key, 'tokens', 'last_refill')
  if not stored[1] then return { key = key, tokens = l.capacity, last = now } end
  local state = { key = key, tokens = tonumber(stored[1]), last = tonumber(stored[2]) }
  if state.last > now then
    -- Redis' clock was set back: refill from here on.
    state.last = now
    redis.call('HSET', key, 'last_refill', string.format('%.0f', now))
  end
  return state
end

function M.available(state, now, l)
  return math.floor(tokensAt(state, now, l) + l.capacity * SLACK)
end

function M.wait(state, now, l, cost)
  local missing = cost - l.capacity * (SLACK / 2) - tokensAt(state, now, l)
  return math.max(0, math.ceil(missing * l.window / l.limit))
end

local function save(state, now, l)
  redis.call('HSET', state.key, 'tokens', string.format('%.17g', state.tokens), 'last_refill', string.format('%.0f', now))
  redis.call('PEXPIRE', state.key, math.ceil(M.wait(state, now, l, l.capacity) / 1000) + 1)
end

function M.take(state, now, l, cost)
  state.tokens = math.max(0, tokensAt(state, now, l) - cost)
  state.last = now
  save(state, now, l)
end

function M.refund(key, now, l, cost)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local state = M.load(key, now, l)
  local before = tokensAt(state, now, l)
  state.tokens = math.min(l.capacity, before + cost)
  state.last = now
  save(state, now, l)
  return math.floor(state.tokens - before + 0.5)
end

return M
