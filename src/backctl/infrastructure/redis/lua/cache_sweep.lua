#!lua flags=allow-oom,allow-cross-slot-keys
-- Scans some keys of a node, and counts or removes the entries that match a glob.
-- ARGV: the cursor; the glob; how many keys to scan; whether to remove the entries.
-- Returns the next cursor, the number of entries and their size in bytes.

local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local remove, count, bytes = ARGV[4] == '1', 0, 0
for _, key in ipairs(found[2]) do
    local size = redis.pcall('STRLEN', key)
    bytes = bytes + (type(size) == 'number' and size or 0)
    count = count + (remove and redis.call('UNLINK', key) or 1)
end
return {found[1], {count, bytes}}
