-- A log of µs timestamps in a LIST, oldest first: about 10 B an entry, appended at the tail, expired at the head.
local log = {}

-- Drops the entries before `floor`, given that the first of `size` is one. Gallops, so that one costs one look.
-- Returns how many went.
function log.expire(key, floor, size)
  local dead, live = 0, 1
  while live < size and tonumber(redis.call('LINDEX', key, live)) < floor do
    dead, live = live, live * 2
  end
  if live > size then live = size end
  while live - dead > 1 do
    local middle = math.floor((dead + live) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) < floor then dead = middle else live = middle end
  end
  if live == size then redis.call('DEL', key)
  elseif live == 1 then redis.call('LPOP', key)
  else redis.call('LTRIM', key, live, -1) end
  return live
end

return log
