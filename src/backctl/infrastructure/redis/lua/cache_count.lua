-- Adds to counters, and returns all of them as names and numbers.
-- KEYS: the counters. ARGV: names and what to add.
-- A key with another kind of content, and a counter that is not a number, are replaced: others can write to the server.

if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
    if #ARGV == 0 then
        return {}
    end
    redis.call('UNLINK', KEYS[1])
end
for at = 1, #ARGV, 2 do
    local reply = redis.pcall('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
    if type(reply) ~= 'number' then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    end
end
return redis.call('HGETALL', KEYS[1])
