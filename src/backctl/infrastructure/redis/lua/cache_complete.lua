-- Stores an entry and unlocks it, if the token still holds the lock and no sweep has begun since.
-- KEYS: the lock, the entry, the fence. ARGV: the token; the fence; the entry; how long to keep it, in ms.
-- With the token alone, only unlocks it. Returns whether the entry was stored.

if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('UNLINK', KEYS[1])
if not ARGV[3] or redis.pcall('GET', KEYS[3]) ~= ARGV[2] then
    return 0
end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
return 1
