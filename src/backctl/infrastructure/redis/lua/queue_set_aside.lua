-- Moves the first updates of a writer to the dead-letter list. Returns how many, and whether there can be more.
-- KEYS: of the writer. ARGV: the writer; the time; the error; how many at most.

local moved, entries = 0, run('XRANGE', STREAM, '-', '+', 'COUNT', ARGV[4])
for _, entry in ipairs(entries) do
    local id, field = entry[1], entry[2][2]
    local value = string.sub(field, 1, #WRITER + 1) == field_of('') and run('HGET', WAITING, field)
    local update = parsed(value)
    if update and entry_id(update) == id then
        bury(field, update, value, tonumber(ARGV[2]), 0, ARGV[3])
        moved = moved + 1
    else
        redis.call('XACK', STREAM, GROUP, id)
        redis.call('XDEL', STREAM, id)
    end
end
return {moved, #entries == tonumber(ARGV[4]) and 1 or 0}
