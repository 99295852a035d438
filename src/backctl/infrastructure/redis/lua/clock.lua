-- The clock of the server, in microseconds.

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

-- Delete the key after this many microseconds.
local function expire(key, after)
    redis.call('PEXPIRE', key, math.ceil(after / 1000))
end
