-- Returns the identity and the last position of a queue. Gives it a new identity if it has none, or this one.
-- KEYS: what is known about the queue. ARGV: a new identity; the identity to replace, or nothing.

local identity, position = state(KEYS[1], ARGV[1])
if identity == ARGV[2] then
    identity = ARGV[1]
    redis.call('HSET', KEYS[1], 'identity', identity)
end
return {identity, position}
