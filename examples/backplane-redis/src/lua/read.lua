-- Returns the end of a history, and entries of it, at one time.
--
-- KEYS  1 state, 2 log
-- ARGV  1 XRANGE or XREVRANGE, 2 from, 3 to, 4 the number of entries at most
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'stamp', 'base')
return {state, redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'COUNT', ARGV[4])}
