-- Returns how many updates of a writer wait, when the oldest was queued, and how many are dead.
-- KEYS: of the writer. ARGV: the writer.

local oldest = LARGEST
for _, entry in ipairs(read('XRANGE', STREAM, '-', '+', 'COUNT', 10) or {}) do
    local update = parsed(read('HGET', WAITING, entry[2][2]))
    if update and entry_id(update) == entry[1] then
        oldest = math.min(oldest, update.queued_at)
    end
end
local moved = read('ZRANGE', MOVED, 0, 0, 'WITHSCORES') or {}
oldest = math.min(oldest, tonumber(moved[2]) or LARGEST)
return {read('XLEN', STREAM) or 0, oldest < LARGEST and oldest, read('ZCARD', BURIED) or 0}
