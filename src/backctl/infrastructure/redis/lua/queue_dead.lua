-- Returns a part of the dead-letter list of a writer: how many it has, the last score, and the head and the size of the
-- content of each update. KEYS: of the writer. ARGV: the writer; after which score; how many at most.

local members = read('ZRANGEBYSCORE', BURIED, '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3]) or {}
local found = {#members / 2, members[#members] or ''}
for at = 1, #members, 2 do
    local member = members[at]
    local unpacked = {pcall(struct.unpack, DEAD, member)}
    if unpacked[1] then
        local start = unpacked[#unpacked]
        found[#found + 1] = {string.sub(member, 1, start - 1), #member - start + 1}
    end
end
return found
