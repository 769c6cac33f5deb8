-- Decides a batch of checks, in order, each on its own: block, all limits or none, violation, block.
-- Composed with `algorithms`, `ones` and `violator`, see scripts.ts.
-- KEYS[i]  PREFIX:block:{CLIENT} of check i; its other keys share the tag
-- ARGV     deadline (µs, 0: none), prefix, how many policies, then each: algorithm, what its counters' names begin with, the most
--          a request may cost, penalty (JSON, see encode.ts, or ''), how many limits, then each: what the counter's name ends
--          with, limit, capacity, the most a request may cost, window (µs), ttl (ms); then runs of checks: policy, flags,
--          cost, how many
-- returns  now (µs), then for each check its group:
--            from 0 allowed: this is what remains of the first limit (0 when there is none), then µs to a further unit of it;
--                   for each further limit both
--            -1 limited    violations (-1: none), then a limit: remaining, µs to a unit, µs until it fits (-1 never)
--            -2 limited and now blocked    as -1, then the block
--            -3 blocked    the block, then the limits, as in -1
--            -4 failed     what went wrong
--          or -1, now when the deadline has passed: then nothing was written.
-- Speed: what only a refusal needs (the penalty, an algorithm's other functions) is read when it is needed. One command asks
-- for all blocks, and only if there is one are they read; those that this batch sets stand in `set`.
local call, tonumber = redis.call, tonumber
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local deadline = tonumber(ARGV[1])
if deadline > 0 and now > deadline then return { -1, now } end

local nowText = string.format('%.0f', now)
local prefix = ARGV[2]
local result, n = { now }, 1
local done = 1 -- of `n`: the groups that are whole
local blocks = call('EXISTS', unpack(KEYS)) > 0 and call('MGET', unpack(KEYS)) or {}
local set, violate

local function add(value)
  n = n + 1
  result[n] = value
end

-- Begins the group of a refusal; its limits follow, then the block it led to, which it returns.
local function refuse(tag, p, cost, penalise)
  local violations, block = -1, nil
  if penalise and p.penalty ~= '' and cost <= p.maxCost then
    violate = violate or violator()
    violations, block = violate(prefix, tag, p.penalty, now, nowText)
    if block then
      set = set or {}
      set[prefix .. ':block:' .. tag] = block
    end
  end
  add(block and -2 or -1)
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
    add(cost > l.maxCost and -1 or remaining >= cost and 0 or p.module.wait(state, now, l, cost))
  end
end

local function refuseBlocked(block, tag, p, cost)
  add(-3)
  add(block)
  measure(p, load(tag, p), cost)
end

-- All limits of a policy, or none.
local function checkLimits(tag, p, cost, penalise, peek)
  local states, fits = load(tag, p), cost <= p.maxCost
  local module = p.module
  for i, l in ipairs(p.limits) do
    if module.available(states[i], now, l) < cost then fits = false end
  end
  if fits then
    if #states == 0 then add(0) end
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
    local block = not shadow and (blocks[position] or set and set[blockKey])
    if block then
      refuseBlocked(block, tag, p, cost)
    else
      checkLimits(tag, p, cost, penalise, peek)
    end
    position, done = position + 1, n
  end
end

-- The same for one unit of one limit, which is what nearly every run is.
local function checkOnes(to, p, cost, penalise, shadow)
  local one, l, counters, skip, sub = p.one, p.limits[1], p.counters, #prefix + 8, string.sub
  local suffix, limit, window, ttl = l.suffix, l.limit, l.window, l.ttl
  while position <= to do
    local blockKey = KEYS[position]
    local tag = sub(blockKey, skip)
    local block = not shadow and (blocks[position] or set and set[blockKey])
    if block then
      refuseBlocked(block, tag, p, cost)
    else
      local allowed, remaining, reset = one(counters .. tag .. suffix, now, nowText, limit, window, ttl)
      if allowed then
        result[n + 1], result[n + 2] = remaining, reset
        n = n + 2
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

local policies, at = {}, 4
for i = 1, tonumber(ARGV[3]) do
  local p = {
    algorithm = ARGV[at], counters = ARGV[at + 1], maxCost = tonumber(ARGV[at + 2]), penalty = ARGV[at + 3], limits = {},
  }
  local count = tonumber(ARGV[at + 4])
  at = at + 5
  for j = 1, count do
    p.limits[j] = {
      suffix = ARGV[at], limit = tonumber(ARGV[at + 1]), capacity = tonumber(ARGV[at + 2]),
      maxCost = tonumber(ARGV[at + 3]), window = tonumber(ARGV[at + 4]), ttl = tonumber(ARGV[at + 5]),
    }
    at = at + 6
  end
  p.one = count == 1 and ones[p.algorithm]
  policies[i] = p
end

position = 1
local last = #ARGV
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
      add(-4)
      add(type(failure) == 'table' and failure.err or tostring(failure))
      position, done = position + 1, n
    end
  end
  at = at + 4
end
return result
