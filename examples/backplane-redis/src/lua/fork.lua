-- Gives a history another epoch, because its end is not the one that was passed.
--
-- KEYS  1 state
-- ARGV  1 the epoch that ends, 2 the epoch that begins
-- The first caller has an effect.
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'base', redis.call('HGET', KEYS[1], 'offset'))
end
