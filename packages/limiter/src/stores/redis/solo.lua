-- One check alone in its batch, of one unit under one limit: what an idle process and a Cluster ask most. Straight code, since
-- here nothing is shared with other checks. Composed with `ones` and `violator`, see scripts.ts.
-- KEYS     PREFIX:block:{CLIENT}, the counter
-- ARGV     deadline (µs, 0: none), prefix, algorithm, flags, penalty (JSON or ''), limit, window (µs), ttl (ms)
-- returns  as check.lua
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = tonumber(ARGV[1])
if deadline > 0 and now > deadline then return { -1, now } end

local shadow = ARGV[4] == '2' or ARGV[4] == '3'
local block = not shadow and redis.call('GET', KEYS[1])
if block then return { now, -3, block } end

local nowText = string.format('%.0f', now)
local limit = { limit = tonumber(ARGV[6]), window = tonumber(ARGV[7]), ttl = ARGV[8] }
local allowed, remaining, reset = ones[ARGV[3]](KEYS[2], now, limit, nowText)
if allowed then return { now, remaining, reset } end

local violations = -1
if ARGV[4] == '1' and ARGV[5] ~= '' then
  violations, block = violator()(ARGV[2], string.sub(KEYS[1], #ARGV[2] + 8), ARGV[5], now, nowText)
end
return { now, block and -2 or -1, violations, 0, reset, reset, block or nil }
