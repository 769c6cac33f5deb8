-- One change of the control state, its history and its event, if nobody has changed anything since.
-- KEYS     PREFIX:{control}: epoch, log, the hash or string that changes, history (only for a policy)
-- ARGV     expected epoch, events channel, control channel, instance, log length, event (JSON), kept versions,
--          what ('hset' field value | 'hdel' field | 'set' value)
-- returns  the new epoch, or -1 when another one is there
local epoch = tonumber(redis.call('GET', KEYS[1]) or 0)
if epoch ~= tonumber(ARGV[1]) then return -1 end
-- The event first: a user of few rights is refused before anything has changed. Who may not publish is heard of by heartbeats.
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local prev = last[1] and last[1][1] or '0-0'
local id = redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'event', ARGV[6], 'prev', prev, 'instance', ARGV[4])
local what = ARGV[8]
if what == 'hset' then redis.call('HSET', KEYS[3], ARGV[9], ARGV[10])
elseif what == 'hdel' then redis.call('HDEL', KEYS[3], ARGV[9])
else redis.call('SET', KEYS[3], ARGV[9]) end
if KEYS[4] then
  redis.call('LPUSH', KEYS[4], ARGV[10])
  redis.call('LTRIM', KEYS[4], 0, ARGV[7] - 1)
end
redis.pcall('PUBLISH', ARGV[2], string.format('{"id":"%s","prev":"%s","at":%s,"instance":%s,%s',
  id, prev, string.match(id, '^%d+'), cjson.encode(ARGV[4]), string.sub(ARGV[6], 2)))
epoch = redis.call('INCR', KEYS[1])
redis.pcall('PUBLISH', ARGV[3], epoch)
return epoch
