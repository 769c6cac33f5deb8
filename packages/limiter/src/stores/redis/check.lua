-- Decides a batch of checks, in order, each on its own: block, all limits or none, violation, block.
-- KEYS[i]  PREFIX:block:{CLIENT} of check i; its other keys share the tag
-- ARGV     deadline (µs, 0: none), prefix, policies, then each policy's numbers, then runs of checks (encode.ts)
-- returns  now (µs), then for each check its group:
--            0 allowed    then a limit: remaining, µs to a further unit
--            1 limited    violations (-1: none), then a limit: remaining, µs to a unit, µs until it fits (-1 never)
--            2 limited and now blocked    as 1, then the block
--            3 blocked    the block; when peeking also the limits, as in 1
--            4 failed     what went wrong
--          or -1, now when the deadline has passed: then nothing was written.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = tonumber(ARGV[1])
if deadline > 0 and now > deadline then return { -1, now } end

local nowText = string.format('%.0f', now)
local prefix = ARGV[2]
local at = 3
local function argument()
  at = at + 1
  return ARGV[at - 1]
end
local function number() return tonumber(argument()) end

local function readPolicy()
  local p = { id = argument(), algorithm = argument(), limits = {}, blocks = {} }
  p.module = algorithms[p.algorithm]
  p.counters = prefix .. ':' .. p.algorithm .. ':'
  p.maxCost = number()
  for i = 1, number() do
    local l = { suffix = argument(), limit = number(), capacity = number(), maxCost = number(), window = number() }
    l.ttl = l.window / 500
    p.limits[i] = l
  end
  p.threshold = number()
  if p.threshold > 0 then
    p.window, p.memory, p.scope, p.reason = number(), number(), argument(), argument()
    for i = 1, number() do p.blocks[i] = number() end
  end
  return p
end

-- Counts a violation; returns how many there are in the window (-1: not counted), and the block it led to.
local function violate(tag, p)
  local client = prefix .. ':client:' .. tag
  local known = redis.call('HMGET', client, 'grace_until', 'offences', 'offences_until')
  if tonumber(known[1] or 0) > now then return -1 end
  local key = prefix .. ':violations:' .. tag .. p.scope
  local count = redis.call('RPUSH', key, nowText)
  local floor = now - p.window + 1
  if count > 1 and tonumber(redis.call('LINDEX', key, 0)) < floor then count = count - log.expire(key, floor, count) end
  redis.call('PEXPIRE', key, p.window / 1000)
  if count < p.threshold then return count end

  redis.call('DEL', key)
  local offence = (tonumber(known[3] or 0) > now and tonumber(known[2]) or 0) + 1
  local duration = p.blocks[math.min(offence, #p.blocks)]
  local since = math.floor(now / 1000)
  local block = string.format(
    '{"client":%s,"reason":%s,"by":"auto","offence":%d,"policy":%s,"since":%.0f,"until":%.0f}',
    cjson.encode(string.sub(tag, 2, -2)), cjson.encode(p.reason), offence, cjson.encode(p.id), since, since + duration)
  redis.call('SET', prefix .. ':block:' .. tag, block, 'PX', duration)
  redis.call('HSET', client, 'offences', offence, 'offences_until', string.format('%.0f', now + (duration + p.memory) * 1000))
  redis.call('PEXPIRE', client, duration + p.memory)
  return count, block
end

-- One check: appends its group to `out`.
local PENALISE, SHADOW, PEEK = 1, 2, 4
local function has(flags, flag) return flags % (2 * flag) >= flag end

local function refuse(out, tag, p, cost, flags, waits)
  local violations, block = -1, nil
  if p.threshold > 0 and cost <= p.maxCost and has(flags, PENALISE) and not has(flags, SHADOW)
    and not has(flags, PEEK) then
    violations, block = violate(tag, p)
  end
  out[#out + 1] = block and 2 or 1
  out[#out + 1] = violations
  for _, n in ipairs(waits) do out[#out + 1] = n end
  if block then out[#out + 1] = block end
end

-- What each limit says to a request that is refused.
local function measure(out, p, states, cost)
  for i, l in ipairs(p.limits) do
    local state = states[i]
    local remaining = p.module.available(state, now, l)
    out[#out + 1] = remaining
    out[#out + 1] = remaining >= l.capacity and 0 or p.module.wait(state, now, l, remaining + 1)
    out[#out + 1] = cost > l.maxCost and -1 or p.module.wait(state, now, l, cost)
  end
end

local function check(out, blockKey, p, cost, flags)
  local tag = string.sub(blockKey, #prefix + 8)
  local module, limits = p.module, p.limits
  local block = not has(flags, SHADOW) and redis.call('GET', blockKey)
  if block then
    out[#out + 1] = 3
    out[#out + 1] = block
    if has(flags, PEEK) then
      local states = {}
      for i, l in ipairs(limits) do states[i] = module.load(p.counters .. tag .. l.suffix, now, l) end
      measure(out, p, states, cost)
    end
    return
  end
  if #limits == 1 and cost == 1 and module.one and not has(flags, PEEK) then
    local l = limits[1]
    local allowed, remaining, reset = module.one(p.counters .. tag .. l.suffix, now, l, nowText)
    if not allowed then return refuse(out, tag, p, cost, flags, { 0, reset, reset }) end
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = 0, remaining, reset
    return
  end

  local states, fits = {}, cost <= p.maxCost
  for i, l in ipairs(limits) do
    states[i] = module.load(p.counters .. tag .. l.suffix, now, l)
    if module.available(states[i], now, l) < cost then fits = false end
  end
  if fits then
    out[#out + 1] = 0
    for i, l in ipairs(limits) do
      local state = states[i]
      if not has(flags, PEEK) then module.take(state, now, l, cost, nowText) end
      local remaining = module.available(state, now, l)
      out[#out + 1] = remaining
      out[#out + 1] = remaining >= l.capacity and 0 or module.wait(state, now, l, remaining + 1)
    end
    return
  end
  local waits = {}
  measure(waits, p, states, cost)
  refuse(out, tag, p, cost, flags, waits)
end

local policies = {}
for i = 1, number() do policies[i] = readPolicy() end

local result = { now }
local key = 1
while at <= #ARGV do
  local p, flags, cost = policies[number()], number(), number()
  for _ = 1, number() do
    local before = #result
    local ok, failure = pcall(check, result, KEYS[key], p, cost, flags)
    if not ok then
      for i = #result, before + 1, -1 do result[i] = nil end
      result[before + 1] = 4
      result[before + 2] = type(failure) == 'table' and failure.err or tostring(failure)
    end
    key = key + 1
  end
end
return result
