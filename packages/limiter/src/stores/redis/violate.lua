-- Counts a violation of the client in `tag`; returns how many there are in the window (-1: not counted, it has grace), and
-- the block it led to. `penalty` is JSON, see encode.ts. Needs `log()` (log.lua).
local call = redis.call

return function(prefix, tag, penalty, now, nowText)
  penalty = cjson.decode(penalty)
  local client = prefix .. ':client:' .. tag
  local known = call('HMGET', client, 'grace_until', 'offences', 'offences_until')
  if tonumber(known[1] or 0) > now then return -1 end
  local key = prefix .. ':violations:' .. tag .. penalty.scope
  local count = call('RPUSH', key, nowText)
  local floor = now - penalty.window + 1
  if count > 1 and tonumber(call('LINDEX', key, '0')) < floor then count = count - log().expire(key, floor, count) end
  call('PEXPIRE', key, penalty.window / 1000)
  if count < penalty.threshold then return count end

  call('DEL', key)
  local offence = (tonumber(known[3] or 0) > now and tonumber(known[2]) or 0) + 1
  local duration = penalty.blocks[math.min(offence, #penalty.blocks)]
  local since = math.floor(now / 1000)
  local block = string.format(
    '{"client":%s,"reason":%s,"by":"auto","offence":%d,"policy":%s,"since":%.0f,"until":%.0f}',
    cjson.encode(string.sub(tag, 2, -2)), cjson.encode(penalty.reason), offence, cjson.encode(penalty.policy),
    since, since + duration)
  call('SET', prefix .. ':block:' .. tag, block, 'PX', duration)
  call('HSET', client, 'offences', offence, 'offences_until', string.format('%.0f', now + (duration + penalty.memory) * 1000))
  call('PEXPIRE', client, duration + penalty.memory)
  return count, block
end
