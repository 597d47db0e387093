-- Removes a member, and publishes it.
--
-- KEYS  1 members
-- ARGV  1 member, 2 the lease under which it entered, or nothing for any, 3 the command that
--       publishes, 4 channel
-- A lease has 16 digits.
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value and (ARGV[2] == '' or string.sub(value, 1, 16) == ARGV[2]) then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call(ARGV[3], ARGV[4], 'l ' .. ARGV[1] .. ' ' .. string.sub(value, 18))
end
