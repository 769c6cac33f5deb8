-- Lifts a block and says what it lifted.
-- KEYS     PREFIX:block:{CLIENT}, PREFIX:client:{CLIENT}, then its violations (as many as ARGV[2]), then its counters
-- ARGV     grace (ms, 0: none), how many of KEYS are violations
-- returns  the block or false, violations, then for each counter 1 if there was one
local block = redis.call('GET', KEYS[1])
local violations, lists = 0, tonumber(ARGV[2])
for i = 3, 2 + lists do violations = violations + redis.call('LLEN', KEYS[i]) end
local result = { block, violations }
for i = 3 + lists, #KEYS do result[#result + 1] = redis.call('DEL', KEYS[i]) end
for i = 1, 2 + lists do redis.call('DEL', KEYS[i]) end
if tonumber(ARGV[1]) > 0 then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[2], 'grace_until', string.format('%.0f', time[1] * 1000000 + time[2] + ARGV[1] * 1000))
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return result
