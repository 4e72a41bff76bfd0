-- Says that a gateway is there, and counts those that have said so in the last five seconds.
--
-- KEYS: the sorted set of gateways, each with the time at which it said so, in microseconds since 1970.
-- ARGV: the gateway.

-- Redis 6 wants to be told before a script that asks for the time may write.
if redis.replicate_commands then redis.replicate_commands() end

local function text(number) return string.format('%.0f', number) end

local FRESH = 5000000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('ZADD', KEYS[1], text(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. text(now - FRESH))
-- Those from before the clock went back.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. text(now + FRESH), '+inf')
redis.call('PEXPIRE', KEYS[1], '10000')
return redis.call('ZCARD', KEYS[1])
