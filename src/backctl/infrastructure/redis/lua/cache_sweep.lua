#!lua flags=allow-cross-slot-keys
-- One step through the keys of a node: counts those that match a glob, and removes them.
-- ARGV: the cursor; the glob; how many keys to look at; whether to remove them.
-- Returns the next cursor, and how many entries there were and their bytes.

local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local remove, count, bytes = ARGV[4] == '1', 0, 0
for _, key in ipairs(found[2]) do
    local size = redis.pcall('STRLEN', key)
    bytes = bytes + (type(size) == 'number' and size or 0)
    count = count + (remove and redis.call('UNLINK', key) or 1)
end
return {found[1], {count, bytes}}
