-- Returns the version of a tag, and creates it if it is missing.
-- KEYS: the version. ARGV: a new version; how long it must last at least, in ms.

local value = redis.pcall('GET', KEYS[1])
if type(value) ~= 'string' or #value ~= 8 then
    value = ARGV[1]
    redis.call('SET', KEYS[1], value)
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return value
