-- Returns whether every waiting update can be taken at some time: whether the streams have as many entries, and whether
-- the first entry of each is new, pending, or to be retried. If an entry is none of these, it becomes the first.
-- KEYS: the waiting updates; the stream and the retries of each writer.

local function can_be_taken(stream, retries, id)
    local group = redis.pcall('XPENDING', stream, GROUP, id, id, 1)
    if group.err or #group > 0 or read('ZSCORE', retries, id) then -- without a group, a new one has all entries
        return true
    end
    for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
        for at = 1, #reply, 2 do
            if reply[at] == 'last-delivered-id' then
                local new = redis.call('XRANGE', stream, '(' .. reply[at + 1], '+', 'COUNT', 1)
                return new[1] and new[1][1] == id
            end
        end
    end
    return false
end

local entries = 0
for number = 2, #KEYS, 2 do
    local stream, retries = KEYS[number], KEYS[number + 1]
    entries = entries + (read('XLEN', stream) or 0)
    local first = read('XRANGE', stream, '-', '+', 'COUNT', 1) or {}
    if first[1] and not can_be_taken(stream, retries, first[1][1]) then
        return 0
    end
end
local waiting = (read('HLEN', KEYS[1]) or 0) - (read('HEXISTS', KEYS[1], 'state') or 0)
return entries == waiting and 1 or 0
