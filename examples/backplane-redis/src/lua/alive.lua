-- Returns 1 for each of the leases that has not ended, and 0 for the others.
--
-- KEYS  1 leases
-- ARGV  the leases
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local alive = {}
for index, lease in ipairs(ARGV) do
  local ends = redis.call('ZSCORE', KEYS[1], lease)
  alive[index] = (ends and tonumber(ends) > now) and 1 or 0
end
return alive
