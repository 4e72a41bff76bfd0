-- Buckets of tokens that several gateways share: brings each bucket of a call to the present, and takes from all of them or from none.
--
-- KEYS: a bucket each, and no key twice.
-- ARGV: the gateway; for how many microseconds from now it holds tokens; now in microseconds since 1970, or '' for the clock of the
--       server, which is what gateways send; then eleven numbers for each bucket:
--       n p b           the quota: n tokens in p microseconds, and at most b
--       need kept       the tokens that are asked for, and 1 if they are held and not spent
--       ahead           the tokens that the gateway would like to hold beyond those
--       held back debt  what the gateway still holds, what it gives back, and what it has let pass beyond
--       add             tokens that are put in, as far as there is room
--       look            1 grants nothing to anybody
-- Answers for each bucket: 1 if it has the needed tokens, the tokens ahead that are granted, the tokens in it after that, the parts of
-- the next one (of p), the held tokens that are confirmed, and the microseconds until it has the needed tokens.
--
-- A bucket is a hash: t whole tokens, r parts of the next one, a the time of that state, n p b its quota, and for each gateway that
-- holds tokens `l:GATEWAY`: how many, until when, and the burst of the quota under which they were taken.
--
-- Every number is whole and below 2^53, so that the double-precision numbers of Lua are exact.

-- Redis 6 wants to be told before a script that asks for the time may write.
if redis.replicate_commands then redis.replicate_commands() end

local MOST_OWED = 2 ^ 40
local LONGEST = 2 ^ 53 - 1

local function text(number) return string.format('%.0f', number) end

-- The quotient and the remainder of whole numbers, both exact.
local function divide(number, by)
    local rest = math.fmod(number, by)
    return (number - rest) / by, rest
end

-- The quotient and the remainder of number * times / by, where number and by are below 2^46: six bits of `times` after the other, so
-- that no product reaches 2^53. Only a quotient of 2^53 or more is inexact.
local function scale(number, times, by)
    local digits, digit = {}, nil
    while times > 0 do
        times, digit = divide(times, 64)
        digits[#digits + 1] = digit
    end
    local quotient, rest = 0, 0
    for at = #digits, 1, -1 do
        local more
        more, rest = divide(rest * 64 + number * digits[at], by)
        quotient = quotient * 64 + more
    end
    return quotient, rest
end

local function scale_up(number, times, by)
    local quotient, rest = scale(number, times, by)
    return rest > 0 and quotient + 1 or quotient
end

-- The level never exceeds the burst without the tokens that gateways hold, nor owes more than the bound.
local function bound(bucket)
    local cap = bucket.b - bucket.held
    if bucket.t >= cap then bucket.t, bucket.r = cap, 0 end
    if bucket.t < -MOST_OWED then bucket.t, bucket.r = -MOST_OWED, 0 end
end

local function refill(bucket, time)
    local periods, part = divide(time, bucket.p)
    local tokens, parts = scale(part, bucket.n, bucket.p)
    bucket.r = bucket.r + parts
    if bucket.r >= bucket.p then
        bucket.r, tokens = bucket.r - bucket.p, tokens + 1
    end
    bucket.t = bucket.t + periods * bucket.n + tokens
    bound(bucket)
end

-- Sums up what gateways hold. Tokens that were taken under another burst are the same share of this one, rounded up.
local function sum_up(bucket)
    bucket.held = 0
    for _, lease in ipairs(bucket.leases) do
        lease.share = scale_up(lease.held, bucket.b, lease.burst)
        bucket.held = bucket.held + lease.share
    end
end

local function read(key, clock, quota)
    local fields = redis.call('HGETALL', key)
    local bucket = { key = key, leases = {}, ended = {} }
    if #fields == 0 then
        bucket.t, bucket.r, bucket.a = quota.b, 0, clock
        bucket.n, bucket.p, bucket.b = quota.n, quota.p, quota.b
    end
    for at = 1, #fields, 2 do
        local name, value = fields[at], fields[at + 1]
        if string.sub(name, 1, 2) == 'l:' then
            local held, ends, burst = string.match(value, '^(%d+) (%d+) (%d+)$')
            table.insert(bucket.leases, {
                name = name, held = tonumber(held), ends = tonumber(ends), burst = tonumber(burst),
            })
        else
            bucket[name] = tonumber(value)
        end
    end
    table.sort(bucket.leases, function(a, b) return a.ends < b.ends end)
    sum_up(bucket)
    return bucket
end

-- Brings a bucket to the present. A lease that ends raises the cap from its end on, and its tokens are lost. If the clock went back, no
-- time has passed, and time goes on from there: otherwise nothing would be refilled until the clock is where it was.
local function advance(bucket, now)
    local at, leases = math.min(bucket.a, now), {}
    for _, lease in ipairs(bucket.leases) do
        if lease.ends <= now then
            if lease.ends > at then
                refill(bucket, lease.ends - at)
                at = lease.ends
            end
            bucket.held = bucket.held - lease.share
            table.insert(bucket.ended, lease.name)
        else
            table.insert(leases, lease)
        end
    end
    refill(bucket, now - at)
    bucket.a, bucket.leases = now, leases
end

-- Puts a bucket under another quota: the share of the burst that is missing stays the same. It is rounded up to a part of a token.
local function convert(bucket, quota)
    if bucket.n == quota.n and bucket.p == quota.p and bucket.b == quota.b then return end
    -- Missing are `whole` tokens and `part` of p. Times the new burst by the old one, that is, by steps that leave remainders:
    local whole, part = bucket.b - bucket.t, 0
    if bucket.r > 0 then whole, part = whole - 1, bucket.p - bucket.r end
    local tokens, rest = scale(whole, quota.b, bucket.b)
    local tokens_of_part, rest_of_part = scale(part, quota.b, bucket.p)
    local carried
    carried, rest = divide(rest + tokens_of_part, bucket.b)
    tokens = tokens + carried
    -- Below a token there are now (rest + rest_of_part / p) / b.
    local parts
    parts, rest = scale(rest, quota.p, bucket.b)
    local parts_of_part
    parts_of_part, rest_of_part = scale(rest_of_part, quota.p, bucket.p)
    carried, rest = divide(rest + parts_of_part, bucket.b)
    parts = parts + carried
    if rest > 0 or rest_of_part > 0 then parts = parts + 1 end
    if parts >= quota.p then tokens, parts = tokens + 1, parts - quota.p end
    bucket.n, bucket.p, bucket.b = quota.n, quota.p, quota.b
    bucket.t, bucket.r = quota.b - tokens, 0
    if parts > 0 then bucket.t, bucket.r = bucket.t - 1, quota.p - parts end
    sum_up(bucket)
    bound(bucket)
end

-- Enters what the gateway says of the tokens that it had.
local function settle(bucket, ask, name)
    local own, leases = 0, {}
    for _, lease in ipairs(bucket.leases) do
        if lease.name == name then
            -- Rounded down here: the gateway cannot spend more than was taken.
            own = scale(lease.held, bucket.b, lease.burst)
            bucket.held = bucket.held - lease.share
            bucket.had = true
        else
            table.insert(leases, lease)
        end
    end
    bucket.leases = leases
    local back = math.min(ask.back, own)
    bucket.confirmed = math.min(ask.held, own - back)
    bucket.held = bucket.held + bucket.confirmed
    bucket.t = bucket.t + back
    bound(bucket)
    bucket.t = bucket.t - ask.debt
    bound(bucket)
    bucket.t = bucket.t + ask.add
    bound(bucket)
    bucket.enough = ask.need == 0 or bucket.t >= ask.need
end

-- Takes the needed tokens and those ahead. At most half of a bucket is held ahead.
local function take(bucket, ask)
    bucket.ahead = math.max(
        0, math.min(ask.ahead, bucket.t - ask.need, math.floor(bucket.b / 2) - bucket.held)
    )
    bucket.t = bucket.t - ask.need - bucket.ahead
    bucket.hold = bucket.confirmed + bucket.ahead + (ask.kept == 1 and ask.need or 0)
    bucket.held = bucket.held - bucket.confirmed + bucket.hold
end

-- When the last gateway stops holding tokens.
local function last_end(bucket)
    local last = bucket.a
    for _, lease in ipairs(bucket.leases) do last = math.max(last, lease.ends) end
    return last
end

-- How long until there are `need` tokens.
local function wait(bucket, need)
    -- (short * p - r) / n, rounded up.
    local time, rest = scale(need - bucket.t, bucket.p, bucket.n)
    if rest >= bucket.r then
        if rest > bucket.r then time = time + 1 end
    else
        time = time - divide(bucket.r - rest, bucket.n)
    end
    if need > bucket.b - bucket.held then time = time + (last_end(bucket) - bucket.a) end
    return math.min(time, LONGEST)
end

-- A bucket that is full and of which nobody holds any is one that was never used.
local function write(bucket, expires)
    if bucket.t >= bucket.b and #bucket.leases == 0 then
        redis.call('DEL', bucket.key)
        return
    end
    local fields = {
        't', text(bucket.t), 'r', text(bucket.r), 'a', text(bucket.a),
        'n', text(bucket.n), 'p', text(bucket.p), 'b', text(bucket.b),
    }
    if bucket.own then
        local own = bucket.own
        table.insert(fields, own.name)
        table.insert(fields, text(own.held) .. ' ' .. text(own.ends) .. ' ' .. text(own.burst))
    end
    redis.call('HSET', bucket.key, unpack(fields))
    for _, name in ipairs(bucket.ended) do
        if not (bucket.own and bucket.own.name == name) then redis.call('HDEL', bucket.key, name) end
    end
    if expires then
        local full = scale_up(bucket.b - bucket.t, bucket.p, bucket.n) + (last_end(bucket) - bucket.a)
        redis.call('PEXPIRE', bucket.key, text(math.min(math.ceil(full / 1000) + 1, 2 ^ 45)))
    end
end

local name, lease_time, clock = 'l:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
-- The keys of a test, which says the time, stay: they would expire by the clock of the server.
local expires = not clock
if not clock then
    local time = redis.call('TIME')
    clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local NAMES = { 'n', 'p', 'b', 'need', 'kept', 'ahead', 'held', 'back', 'debt', 'add', 'look' }
local asks, buckets, granted = {}, {}, true
for index, key in ipairs(KEYS) do
    local ask = {}
    for at, field in ipairs(NAMES) do ask[field] = tonumber(ARGV[3 + (index - 1) * #NAMES + at]) end
    local bucket = read(key, clock, ask)
    advance(bucket, clock)
    convert(bucket, ask)
    settle(bucket, ask, name)
    asks[index], buckets[index] = ask, bucket
    granted = granted and bucket.enough and ask.look == 0
end

local answers = {}
for index, bucket in ipairs(buckets) do
    local ask = asks[index]
    bucket.ahead, bucket.hold = 0, bucket.confirmed
    if granted then take(bucket, ask) end
    if bucket.hold > 0 then
        bucket.own = { name = name, held = bucket.hold, ends = bucket.a + lease_time, burst = bucket.b }
        table.insert(bucket.leases, bucket.own)
    elseif bucket.had then
        table.insert(bucket.ended, name)
    end
    write(bucket, expires)
    answers[index] = {
        bucket.enough and 1 or 0, bucket.ahead, bucket.t, bucket.r, bucket.confirmed,
        bucket.enough and 0 or wait(bucket, ask.need),
    }
end
return answers
