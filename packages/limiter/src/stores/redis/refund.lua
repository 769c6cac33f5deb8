-- Gives back what one decision took.
-- KEYS[i]  the counter of limit i
-- ARGV     deadline, algorithm, cost, then a limit: limit, capacity, window (µs), stamp
-- returns  now, the most units that came back to one limit; or -1, now when the deadline has passed
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then return { -1, now } end
local module, cost = algorithms[ARGV[2]](), tonumber(ARGV[3])
if cost == 0 then return { now, 0 } end -- LREM would take a count of 0 for all
local most = 0
for i, key in ipairs(KEYS) do
  local at = 4 * i
  local l = { limit = tonumber(ARGV[at]), capacity = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]) }
  most = math.max(most, module.refund(key, now, l, cost, tonumber(ARGV[at + 3])))
end
return { now, most }
