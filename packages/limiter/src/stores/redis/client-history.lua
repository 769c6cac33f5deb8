-- Adds what clients did in a minute to the history of each: a field a minute, `limited=3 allowed=12`.
-- KEYS     PREFIX:history:{CLIENT} of each
-- ARGV     how many minutes are kept, and for how long without a new one (ms); then for each client the minute (minutes
--          since the epoch) and its counts, in the same form
for i, key in ipairs(KEYS) do
  local minute, counts, kept = ARGV[2 * i + 1], ARGV[2 * i + 2], redis.call('HGET', key, ARGV[2 * i + 1])
  if kept then
    local sums, told = {}, {}
    for outcome, count in string.gmatch(kept .. ' ' .. counts, '([%l-]+)=(%d+)') do
      sums[outcome] = (sums[outcome] or 0) + count
    end
    for outcome, sum in pairs(sums) do told[#told + 1] = string.format('%s=%.0f', outcome, sum) end
    counts = table.concat(told, ' ')
  else
    local fields = redis.call('HGETALL', key)
    for j = 1, #fields, 2 do
      if tonumber(fields[j]) <= minute - ARGV[1] then redis.call('HDEL', key, fields[j]) end
    end
  end
  redis.call('HSET', key, minute, counts)
  redis.call('PEXPIRE', key, ARGV[2])
end
