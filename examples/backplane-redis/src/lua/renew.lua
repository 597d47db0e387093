-- Renews a lease, or begins it.
--
-- KEYS  1 leases
-- ARGV  1 lease, 2 its milliseconds, 3 "1" to begin it
-- Returns 0 if the lease has ended: it does not begin again, because another node may be removing
-- its members.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '1' then
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if not ends or tonumber(ends) <= now then
    return 0
  end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
return 1
