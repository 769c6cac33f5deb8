-- Stands before a script that writes for an operator: what Redis comes to after the deadline it does not do at all, because
-- whoever asked has been told that it failed.
-- ARGV[1]  deadline (µs by Redis' clock); the script sees the arguments after it
do
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  if now > tonumber(table.remove(ARGV, 1)) then return redis.error_reply(string.format('EXPIRED %.0f', now)) end
end
