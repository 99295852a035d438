-- Returns the identity and the last position of a queue. Gives it a new identity if it has none.
-- KEYS: the waiting updates. ARGV: a new identity; the position that the queue must have reached.

local identity, position = state(KEYS[1], ARGV[1])
local least = tonumber(ARGV[2])
if position < least and whole(least) then
    position = least
    redis.call('HSET', KEYS[1], 'state', struct.pack(STATE, identity, position))
end
return {identity, position}
