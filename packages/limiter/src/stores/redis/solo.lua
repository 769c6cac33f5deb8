-- One check alone in its batch, of one unit under one limit: what an idle process and a Cluster ask most. Straight code, since
-- here nothing is shared with other checks. Its policy stands before it, see scripts.ts: `prefix`, `shadow`, `limit`, `window`
-- (µs), `ttl` (ms), `penalty` (JSON, or '' when a refusal is no violation). In place of `one()`, `algorithm()`, `violator()` and
-- `log()` stands their code: what only a refusal needs is made only then.
-- KEYS     PREFIX:block:{CLIENT}, the counter
-- ARGV     deadline (µs, 0: none)
-- returns  as check.lua
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = ARGV[1] + 0
if deadline > 0 and now > deadline then return { -1, now } end

local key, nowText = KEYS[2], now -- Redis writes numbers down with 17 digits
local block = not shadow and call('GET', KEYS[1])
if block then
  local M, l = algorithm(), { limit = limit, window = window, ttl = ttl }
  local state = M.load(key, now, l)
  local remaining = M.available(state, now, l)
  local reset = remaining >= limit and 0 or M.wait(state, now, l, remaining + 1)
  return { now, -3, block, remaining, reset, M.wait(state, now, l, 1) }
end

local allowed, remaining, reset
one()
if allowed then return { now, remaining, reset } end

local violations = -1
if penalty ~= '' then
  violations, block = violator()(prefix, string.sub(KEYS[1], #prefix + 8), penalty, now, now)
end
return { now, block and -2 or -1, violations, 0, reset, reset, block or nil }
