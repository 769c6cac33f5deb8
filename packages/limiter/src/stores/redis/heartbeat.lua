-- Once a second an instance says that it lives and what it did, and hears what it may have missed.
-- KEYS     PREFIX:{control}: instances, frames, epoch, log, blocks, controls
-- ARGV     instance, frame (JSON), stats channel, an instance is dead after (ms), whether it decides requests (1 or 0)
-- returns  the epoch or false, how many live that decide, the id of the newest event or false
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local silent = now - ARGV[4]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', silent, 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
-- Who decides nothing stands among all and in a list besides: an older version, which has none, decides.
if ARGV[5] == '0' then
  redis.call('ZADD', KEYS[6], now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', silent)
  redis.call('PEXPIRE', KEYS[6], 60000)
end
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('PEXPIRE', KEYS[2], 60000)
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now) -- blocks that have ended
redis.call('PUBLISH', ARGV[3], ARGV[2])
local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
local deciding = redis.call('ZCARD', KEYS[1]) - #redis.call('ZRANGEBYSCORE', KEYS[6], '(' .. silent, '+inf')
return { redis.call('GET', KEYS[3]), deciding, last[1] and last[1][1] or false }
