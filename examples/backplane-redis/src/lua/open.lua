-- Returns the end of the history of a room, which begins if the room has none.
--
-- KEYS  1 state, 2 log, 3 ids
-- ARGV  1 the epoch if a history begins, 2 milliseconds to keep a room without messages
-- Returns the epoch, the offset of the last message, and its time or nothing.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'stamp')
if state[1] then
  return {state[1], state[2], state[3]}
end
-- The server may have evicted the state alone.
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'base', 0, 'offset', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {ARGV[1], '0', false}
