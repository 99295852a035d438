-- The clock of the server, in microseconds.

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

-- Delete a key after this many microseconds.
local function expire(key, after)
    redis.call('PEXPIRE', key, math.ceil(after / 1000))
end

-- Set a key that is deleted after this many microseconds.
local function set(key, value, after)
    redis.call('SET', key, value, 'PX', math.ceil(after / 1000))
end
