-- Gives back what one decision took.
-- KEYS[i]  the counter of limit i
-- ARGV     deadline, algorithm, cost, when it was taken (µs), then a limit: limit, capacity, window (µs)
-- returns  now, the most units that came back to one limit; or -1, now when the deadline has passed
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now > tonumber(ARGV[1]) then return { -1, now } end
local module, cost, takenAt = algorithms[ARGV[2]](), tonumber(ARGV[3]), tonumber(ARGV[4])
if cost == 0 then return { now, 0 } end -- LREM would take a count of 0 for all
local most = 0
for i, key in ipairs(KEYS) do
  local at = 3 * i + 2
  local l = { limit = tonumber(ARGV[at]), capacity = tonumber(ARGV[at + 1]), window = tonumber(ARGV[at + 2]) }
  l.ttl = 2 * math.ceil(l.window / 1000) + 1
  most = math.max(most, module.refund(key, now, l, cost, takenAt))
end
return { now, most }
