-- Puts in what is missing: the seed of a first start, or what an instance still knows after Redis has lost it.
-- The higher version of a policy wins; a deletion is a version too (a tombstone). Settings and lists have no versions: those
-- of the higher epoch win.
-- KEYS     PREFIX:{control}: epoch, policies, settings, lists; then the history of each policy given
-- ARGV     the epoch these come from (0: a seed), versions kept, settings, how many policies, then each: id, version, record;
--          then each list entry: field, entry
-- returns  the epoch
local epoch, given = tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1])
local present = redis.call('EXISTS', KEYS[3]) == 1
local newer = not present or epoch < given
local changed = newer
if newer then
  redis.call('SET', KEYS[3], ARGV[3])
  redis.call('DEL', KEYS[4])
end

-- A record that this version cannot read belongs to a newer one: it stays.
local function versionOf(stored)
  local ok, record = pcall(cjson.decode, stored)
  return ok and type(record) == 'table' and tonumber(record.version) or math.huge
end

local at = 5
for i = 1, tonumber(ARGV[4]) do
  local id, version, record = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  at = at + 3
  local stored = redis.call('HGET', KEYS[2], id)
  if not stored or versionOf(stored) < version then
    redis.call('HSET', KEYS[2], id, record)
    redis.call('LPUSH', KEYS[4 + i], record)
    redis.call('LTRIM', KEYS[4 + i], 0, ARGV[2] - 1)
    changed = true
  end
end
while newer and at < #ARGV do
  redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
  at = at + 2
end
-- Into an empty Redis the state comes back under its own epoch, so that an instance that knows a later one still sees it.
if not present then epoch = math.max(epoch + 1, given)
elseif changed then epoch = math.max(epoch, given) + 1 end
if changed then redis.call('SET', KEYS[1], string.format('%.0f', epoch)) end
return epoch
