-- The control state, all of one moment. Not MULTI: a Redis that is out of memory refuses whatever is in one, reading too.
-- KEYS     PREFIX:{control}: epoch, policies, settings, lists
-- returns  the epoch, fields and values of the policies, the settings, fields and values of the lists; false for what there is none of
return {
  redis.call('GET', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('GET', KEYS[3]), redis.call('HGETALL', KEYS[4]),
}
