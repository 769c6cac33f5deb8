-- Puts in what is missing: the seed of a first start, or what an instance still knows after Redis has lost it.
-- The higher version of a policy wins; a deletion is a version too (a tombstone).
-- KEYS     PREFIX:{control}: epoch, policies, settings, lists; then the history of each policy given
-- ARGV     the epoch these come from, settings (JSON), how many policies, then each: id, version, record (JSON);
--          then each list entry: field, JSON. Lists are put in only where there are none and no epoch (nothing was removed).
-- returns  the epoch
local present = redis.call('GET', KEYS[1])
local epoch = tonumber(present or 0)
local given = tonumber(ARGV[1])
local changed = not present
if redis.call('SETNX', KEYS[3], ARGV[2]) == 1 then changed = true end
local at = 4
for i = 1, tonumber(ARGV[3]) do
  local id, version, record = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  at = at + 3
  local stored = redis.call('HGET', KEYS[2], id)
  if not stored or cjson.decode(stored).version < version then
    redis.call('HSET', KEYS[2], id, record)
    redis.call('LPUSH', KEYS[4 + i], record)
    changed = true
  end
end
if not present or epoch < given then
  while at < #ARGV do
    if redis.call('HSETNX', KEYS[4], ARGV[at], ARGV[at + 1]) == 1 then changed = true end
    at = at + 2
  end
end
if changed or epoch < given then
  epoch = math.max(epoch, given) + 1
  redis.call('SET', KEYS[1], string.format('%.0f', epoch))
end
return epoch
