#!lua flags=allow-cross-slot-keys
-- One step through the keys of a node: counts those that match a glob, and removes them.
-- ARGV: the cursor; the glob; how many keys to look at; whether to remove them.
-- Returns the next cursor, and how many entries there were and their bytes.

local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local keys, bytes = found[2], 0
for _, key in ipairs(keys) do
    local size = redis.pcall('STRLEN', key)
    bytes = bytes + (type(size) == 'number' and size or 0)
end
local count = #keys
if count > 0 and ARGV[4] == '1' then
    count = redis.call('UNLINK', unpack(keys))
end
return {found[1], {count, bytes}}
