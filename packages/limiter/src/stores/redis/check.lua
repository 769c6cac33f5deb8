-- Decides a batch of checks, in order, each on its own: block, all limits or none, violation, block.
-- KEYS[i]  PREFIX:block:{CLIENT} of check i; its other keys share the tag
-- ARGV     deadline (µs, 0: none), prefix, policies (JSON, see encode.ts), then runs of checks: policy, flags, cost, how many
-- returns  now (µs), then for each check its group:
--            0 allowed    then a limit: remaining, µs to a further unit
--            1 limited    violations (-1: none), then a limit: remaining, µs to a unit, µs until it fits (-1 never)
--            2 limited and now blocked    as 1, then the block
--            3 blocked    the block; when peeking also the limits, as in 1
--            4 failed     what went wrong
--          or -1, now when the deadline has passed: then nothing was written.
-- Speed: what only a refusal needs (the penalty, an algorithm's other functions) is read when it is needed.
local call, tonumber = redis.call, tonumber
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = tonumber(ARGV[1])
if deadline > 0 and now > deadline then return { -1, now } end

local nowText = string.format('%.0f', now)
local prefix = ARGV[2]
local result, n = { now }, 1
local done = 1 -- of `n`: the groups that are whole

local function add(value)
  n = n + 1
  result[n] = value
end

-- Counts a violation; returns how many there are in the window (-1: not counted), and the block it led to.
local function violate(tag, p)
  local penalty = cjson.decode(p.penalty)
  local client = prefix .. ':client:' .. tag
  local known = call('HMGET', client, 'grace_until', 'offences', 'offences_until')
  if tonumber(known[1] or 0) > now then return -1 end
  local key = prefix .. ':violations:' .. tag .. penalty.scope
  local count = call('RPUSH', key, nowText)
  local floor = now - penalty.window + 1
  if count > 1 and tonumber(call('LINDEX', key, 0)) < floor then count = count - log.expire(key, floor, count) end
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

-- Begins the group of a refusal; its limits follow, then the block it led to, which it returns.
local function refuse(tag, p, cost, penalise)
  local violations, block = -1, nil
  if penalise and p.penalty ~= '' and cost <= p.maxCost then violations, block = violate(tag, p) end
  add(block and 2 or 1)
  add(violations)
  return block
end

local function load(tag, p)
  p.module = p.module or algorithms[p.algorithm]()
  local states = {}
  for i, l in ipairs(p.limits) do states[i] = p.module.load(p.counters .. tag .. l.suffix, now, l) end
  return states
end

-- What each limit says to a request that is refused.
local function measure(p, states, cost)
  for i, l in ipairs(p.limits) do
    local state = states[i]
    local remaining = p.module.available(state, now, l)
    add(remaining)
    add(remaining >= l.capacity and 0 or p.module.wait(state, now, l, remaining + 1))
    add(cost > l.maxCost and -1 or p.module.wait(state, now, l, cost))
  end
end

-- All limits of a policy, or none.
local function checkLimits(tag, p, cost, penalise, peek)
  local states, fits = load(tag, p), cost <= p.maxCost
  local module = p.module
  for i, l in ipairs(p.limits) do
    if module.available(states[i], now, l) < cost then fits = false end
  end
  if fits then
    add(0)
    for i, l in ipairs(p.limits) do
      local state = states[i]
      if not peek then module.take(state, now, l, cost, nowText) end
      local remaining = module.available(state, now, l)
      add(remaining)
      add(remaining >= l.capacity and 0 or module.wait(state, now, l, remaining + 1))
    end
  else
    local block = refuse(tag, p, cost, penalise)
    measure(p, states, cost)
    if block then add(block) end
  end
end

-- Checks from `position` to `to`, all of one run. Goes on from `position` after one has failed.
local position

local function checkRun(to, p, cost, penalise, shadow, peek)
  while position <= to do
    local blockKey = KEYS[position]
    local tag = string.sub(blockKey, #prefix + 8)
    local block = not shadow and call('GET', blockKey)
    if block then
      add(3)
      add(block)
      if peek then measure(p, load(tag, p), cost) end
    else
      checkLimits(tag, p, cost, penalise, peek)
    end
    position, done = position + 1, n
  end
end

-- The same for one unit of one limit, which is what nearly every run is.
local function checkOnes(to, p, cost, penalise, shadow)
  local one, l, counters, skip, sub = p.one, p.limits[1], p.counters, #prefix + 8, string.sub
  local suffix = l.suffix
  while position <= to do
    local blockKey = KEYS[position]
    local block = not shadow and call('GET', blockKey)
    if block then
      add(3)
      add(block)
    else
      local tag = sub(blockKey, skip)
      local allowed, remaining, reset = one(counters .. tag .. suffix, now, l, nowText)
      if allowed then
        result[n + 1], result[n + 2], result[n + 3] = 0, remaining, reset
        n = n + 3
      else
        local blocked = refuse(tag, p, cost, penalise)
        add(0)
        add(reset)
        add(reset)
        if blocked then add(blocked) end
      end
    end
    position, done = position + 1, n
  end
end

local policies = cjson.decode(ARGV[3])
for _, p in ipairs(policies) do p.one = #p.limits == 1 and ones[p.algorithm] end

position = 1
local at, last = 4, #ARGV
while at <= last do
  local p, flags, cost = policies[tonumber(ARGV[at])], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local penalise, shadow, peek = flags % 2 >= 1, flags % 4 >= 2, flags >= 4
  local run = p.one and cost == 1 and not peek and checkOnes or checkRun
  local to = position + ARGV[at + 3] - 1
  while position <= to do
    local ok, failure = pcall(run, to, p, cost, penalise and not shadow and not peek, shadow, peek)
    if not ok then
      -- It fails alone: what it has written of its group goes, and the next one is decided.
      for i = n, done + 1, -1 do result[i] = nil end
      n = done
      add(4)
      add(type(failure) == 'table' and failure.err or tostring(failure))
      position, done = position + 1, n
    end
  end
  at = at + 4
end
return result
