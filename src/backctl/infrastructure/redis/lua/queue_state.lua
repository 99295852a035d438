-- Returns the identity and the last position of a queue. Gives it a new identity if it has none, or a certain one.
-- KEYS: the waiting updates. ARGV: a new identity; the identity to replace, or nothing.

local identity, position = state(KEYS[1], ARGV[1])
if identity == ARGV[2] then
    identity = ARGV[1]
    redis.call('HSET', KEYS[1], 'state', struct.pack(STATE, identity, position))
end
return {identity, position}
