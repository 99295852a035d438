-- Locks an entry for the process that will fill it, then reads the entry and the versions in its slot.
-- KEYS: the lock, the entry, the epoch, the fence. ARGV: the token; how long to hold the lock, in ms; whether to
-- take it from another process and remove the entry; a new epoch and fence, used if they are missing.
-- Returns whether the lock is held, whether another writer held it, the entry, the epoch, the fence.
-- A key of another type is treated as missing, because other programs can write to the server.

local function text(key)
    local value = redis.pcall('GET', key)
    return type(value) == 'string' and value
end

local function version(key, new)
    local value = text(key)
    if not value or #value ~= 8 then
        value = new
        redis.call('SET', key, new)
    end
    return value
end

-- A lock without an end, or with a late one, is not from a process that fills the entry.
local left = redis.call('PTTL', KEYS[1])
local lock = left > 0 and left <= 2 * tonumber(ARGV[2]) and text(KEYS[1])
local held, contended = 1, 0
if ARGV[3] == '1' then
    redis.call('UNLINK', KEYS[2])
    contended = lock and string.sub(lock, 1, 1) == 'w' and 1 or 0
elseif lock then
    held = 0
end
if held == 1 then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return {held, contended, text(KEYS[2]), version(KEYS[3], ARGV[4]), version(KEYS[4], ARGV[5])}
