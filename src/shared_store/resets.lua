-- The buckets that were reset: adds one, or lists those since a time.
--
-- KEYS: the sorted set of resets, each with a time in microseconds since 1970 that is later than that of the one before.
-- ARGV: the time from the answer of the last call, or '' in the first; the reset that is added, or ''.
-- Answers the time for the next call, and the resets since the time of the last one.

-- Redis 6 wants to be told before a script that asks for the time may write.
if redis.replicate_commands then redis.replicate_commands() end

local function text(number) return string.format('%.0f', number) end

local KEPT = 60000000
local MOST = 10000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local latest = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
if latest then now = math.max(now, latest) end
if ARGV[2] ~= '' then
    now = now + 1
    redis.call('ZADD', KEYS[1], text(now), ARGV[2])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. text(now - KEPT))
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - MOST)
    redis.call('PEXPIRE', KEYS[1], '60000')
end
local since = tonumber(ARGV[1])
if not since then return { text(now), {} } end
-- The clock went back, or the server has lost its memory.
if since > now then since = now - KEPT end
return { text(now), redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(since), '+inf') }
