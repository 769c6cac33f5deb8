-- sliding_window for one unit of one limit, in as few commands as can be: appends first, takes back when that was one too
-- many. Needs `log()` (log.lua). Returns allowed, remaining, µs until a further unit.
local call, tonumber = redis.call, tonumber

local function one(key, now, l, nowText)
  local size = call('RPUSH', key, nowText)
  if size == 1 then
    call('PEXPIRE', key, l.ttl)
    return true, l.limit - 1, l.window + 1
  end
  local head = tonumber(call('LINDEX', key, 0))
  if head > now then
    -- Redis' clock was set back: a log from the future would refuse for as long.
    call('DEL', key)
    return one(key, now, l, nowText)
  end
  if head < now - l.window then
    size = size - log().expire(key, now - l.window, size)
    head = size > 1 and tonumber(call('LINDEX', key, 0)) or now
    call('PEXPIRE', key, l.ttl)
  end
  if size <= l.limit then return true, l.limit - size, head + l.window + 1 - now end
  call('RPOP', key)
  if size - l.limit > 1 then head = tonumber(call('LINDEX', key, size - l.limit - 1)) end
  return false, 0, head + l.window + 1 - now
end

return one
