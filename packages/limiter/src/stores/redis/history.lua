-- Adds what one instance did in a second to the history: to that second, its ten seconds and its five minutes.
-- KEYS     PREFIX:{control}:stats:STEP:START of each, finest first
-- ARGV     for each key how long it is kept (ms) and 1 when this instance has not told of this step before, else 0;
--          then fields and what is added to each
for i, key in ipairs(KEYS) do
  if ARGV[2 * i] == '1' then redis.call('HINCRBY', key, 'instances', 1) end
  for j = 2 * #KEYS + 1, #ARGV, 2 do
    redis.call('HINCRBY', key, ARGV[j], ARGV[j + 1])
  end
  redis.call('PEXPIRE', key, ARGV[2 * i - 1])
end
