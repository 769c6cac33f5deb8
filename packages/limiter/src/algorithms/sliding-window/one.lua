-- sliding_window for one unit of one limit, in as few commands as can be: appends first, takes back when that was one too
-- many. Code to stand where it is needed (a function to be made and called is a cost), given `key`, `now`, `nowText` (or `now`
-- again), `limit`, `window`, `ttl` and `log()` (log.lua). Sets `allowed`, `remaining`, `reset` (µs until a further unit).
local size, head = call('RPUSH', key, nowText), now
if size == 1 then call('PEXPIRE', key, ttl)
else
  -- '0', not 0: Redis prints a number as a float before it runs the command.
  head = call('LINDEX', key, '0') + 0
  if head > now then
    -- Redis' clock was set back: a log from the future would refuse for as long.
    call('DEL', key)
    call('RPUSH', key, nowText)
    call('PEXPIRE', key, ttl)
    size, head = 1, now
  elseif head < now - window then
    size = size - log().expire(key, now - window, size)
    head = size > 1 and call('LINDEX', key, '0') + 0 or now
    call('PEXPIRE', key, ttl)
  end
end
if size <= limit then allowed, remaining = true, limit - size
else
  call('RPOP', key)
  if size - limit > 1 then head = call('LINDEX', key, size - limit - 1) + 0 end
  allowed, remaining = false, 0
end
reset = head + window + 1 - now
