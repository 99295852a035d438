-- Gives waiting updates that are not in the line a place at its end, and removes content of other programs.
-- KEYS: of the writer. ARGV: the writer; fields.

for at = 2, #ARGV do
    local field = ARGV[at]
    local value = run('HGET', WAITING, field)
    local update = parsed(value)
    if update then
        local entries = run('XRANGE', STREAM, entry_id(update), entry_id(update))
        if not (entries[1] and entries[1][2][2] == field) then
            store_at_the_end(field, update, content_of(value))
        end
    elseif value then
        redis.call('HDEL', WAITING, field)
    end
end
run('HSETNX', WRITERS, WRITER, '')
