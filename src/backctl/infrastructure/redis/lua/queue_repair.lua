-- Gives waiting updates that are not in the line a place at its end, and removes content of other programs.
-- KEYS: of the queue and the writer. ARGV: the writer; keys.

for at = 2, #ARGV do
    local key = ARGV[at]
    local value = run('HGET', WAITING, field_of(key))
    local update = parsed(value)
    if update then
        local entries = run('XRANGE', STREAM, entry_id(update), entry_id(update))
        if not (entries[1] and entries[1][2][2] == key) then
            store_at_the_end(key, update, payload(value))
        end
    elseif value then
        redis.call('HDEL', WAITING, field_of(key))
    end
end
run('HSETNX', META, WRITER, '')
