#!lua flags=allow-oom
-- Removes keys, replaces the sequence, and tells all processes what was invalidated. Works on a server without memory,
-- where an invalidation must not fail.
-- KEYS: the sequence; then what to remove. ARGV: the new sequence; the channel; what was invalidated; how many of the
-- keys to remove are not counted. Returns the previous sequence, and how many of the other keys there were.

local removed = 0
for number = 2, #KEYS do
    local gone = redis.call('UNLINK', KEYS[number])
    if number > 1 + ARGV[4] then
        removed = removed + gone
    end
end
local before = redis.pcall('GET', KEYS[1])
if type(before) ~= 'string' or #before ~= 8 then
    before = ''
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], string.char(#before) .. before .. ARGV[1] .. ARGV[3])
return {before, removed}
