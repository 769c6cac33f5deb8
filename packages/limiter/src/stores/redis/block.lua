-- An operator's block.
-- KEYS     PREFIX:block:{CLIENT}, PREFIX:client:{CLIENT}
-- ARGV     client, reason, by, duration (ms)
-- returns  the block
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local since = math.floor(now / 1000)
local known = redis.call('HMGET', KEYS[2], 'offences', 'offences_until')
local offence = tonumber(known[2] or 0) > now and tonumber(known[1]) or 0
local block = string.format(
  '{"client":%s,"reason":%s,"by":%s,"offence":%d,"since":%.0f,"until":%.0f}',
  cjson.encode(ARGV[1]), cjson.encode(ARGV[2]), cjson.encode(ARGV[3]), offence, since, since + ARGV[4])
redis.call('SET', KEYS[1], block, 'PX', ARGV[4])
return block
