-- Once a second an instance says that it lives and what it did, and hears what it may have missed.
-- KEYS     PREFIX:{control}: instances, frames, epoch, log, blocks
-- ARGV     instance, frame (JSON), stats channel, an instance is dead after (ms)
-- returns  the epoch or false, how many instances live, the id of the newest event or false
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[4], 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('PEXPIRE', KEYS[2], 60000)
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', now) -- blocks that have ended
redis.call('PUBLISH', ARGV[3], ARGV[2])
local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
return { redis.call('GET', KEYS[3]), redis.call('ZCARD', KEYS[1]), last[1] and last[1][1] or false }
