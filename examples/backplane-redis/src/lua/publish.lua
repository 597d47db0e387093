-- Stores a message as the next one of a room, and publishes it.
--
-- KEYS  1 state, 2 log, 3 ids
-- ARGV  1 record, 2 "1" if it has an id, 3 the id, 4 the epoch if a history begins,
--       5 messages to keep, 6 ids to keep, 7 milliseconds to keep a message (0 for no limit),
--       8 milliseconds to keep a room without messages, 9 the command that publishes, 10 channel
-- Returns the epoch, the offset, and 1 if the id was known.
local state, log, ids = KEYS[1], KEYS[2], KEYS[3]

-- Lua prints large numbers with an exponent.
local function integer(number)
  return string.format('%.0f', number)
end

local known = redis.call('HMGET', state, 'epoch', 'offset', 'oldest')
local epoch, offset, oldest = known[1], known[2], known[3]
if not epoch then
  -- The server may have evicted the state alone.
  redis.call('DEL', log, ids)
  epoch, offset, oldest = ARGV[4], 0, false
  redis.call('HSET', state, 'epoch', epoch, 'base', 0)
elseif ARGV[2] == '1' then
  local first = redis.call('ZSCORE', ids, ARGV[3])
  if first then
    return {epoch, integer(first), 1}
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = integer(now)
local next = integer(offset + 1)
redis.call('HSET', state, 'offset', next, 'stamp', stamp)
if not oldest then
  oldest = now
  redis.call('HSET', state, 'oldest', stamp)
end
redis.call('XADD', log, next .. '-0', 't', stamp, 'r', ARGV[1])
if ARGV[2] == '1' then
  redis.call('ZADD', ids, next, ARGV[3])
end

-- By count, in whole nodes of the stream: anything else would rewrite its first node each time.
local beyond = offset + 1 - ARGV[5]
if beyond > 0 then
  redis.call('XTRIM', log, 'MINID', '~', integer(beyond + 1))
end
local forgotten = offset + 1 - ARGV[6]
if forgotten > 0 then
  redis.call('ZREMRANGEBYSCORE', ids, '-inf', integer(forgotten))
end

-- By age. `oldest` is the time of the first message, or of one that no longer exists.
local age = tonumber(ARGV[7])
local limit = now - age * 1000
if age > 0 and tonumber(oldest) < limit then
  local keep
  for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', 16)) do
    keep, oldest = entry[1], entry[2][2]
    if tonumber(oldest) >= limit then
      break
    end
  end
  redis.call('XTRIM', log, 'MINID', keep)
  redis.call('HSET', state, 'oldest', oldest)
end

local expiry = tonumber(ARGV[8])
redis.call('PEXPIRE', state, expiry)
redis.call('PEXPIRE', ids, expiry)
-- Without messages, all of the log is too old by then.
redis.call('PEXPIRE', log, age > 0 and math.min(age, expiry) or expiry)

redis.call(ARGV[9], ARGV[10], 'm ' .. epoch .. ' ' .. next .. ' ' .. stamp .. ' ' .. ARGV[1])
return {epoch, next, 0}
