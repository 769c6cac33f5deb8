-- Appends events to the log and tells them, each with the id of the one before, so that a reader sees a gap.
-- KEYS     PREFIX:{control}:log, PREFIX:{control}:epoch
-- ARGV     channel, instance, how many entries the log keeps, the control channel when the epoch is to grow (an unblock)
--          or '', then the events as JSON objects without id, prev, at and instance
-- returns  the epoch, when it grew
-- Who may not publish has written all the same: as an error it would be written again and again.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local prev = last[1] and last[1][1] or '0-0'
for i = 5, #ARGV do
  local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'event', ARGV[i], 'prev', prev, 'instance', ARGV[2])
  local placed = string.format('{"id":"%s","prev":"%s","at":%s,"instance":%s,%s',
    id, prev, string.match(id, '^%d+'), cjson.encode(ARGV[2]), string.sub(ARGV[i], 2))
  redis.pcall('PUBLISH', ARGV[1], placed)
  prev = id
end
if ARGV[4] ~= '' then
  local epoch = redis.call('INCR', KEYS[2])
  redis.pcall('PUBLISH', ARGV[4], epoch)
  return epoch
end
