-- Records that a member is present, and publishes it.
--
-- KEYS  1 members
-- ARGV  1 member, 2 lease, 3 data, 4 the command that publishes, 5 channel
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
redis.call(ARGV[4], ARGV[5], 'e ' .. ARGV[1] .. ' ' .. ARGV[3])
