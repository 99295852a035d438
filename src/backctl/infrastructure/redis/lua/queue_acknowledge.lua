-- Removes updates that were written. Those that were replaced meanwhile wait with their new value.
-- KEYS: of the writer. ARGV: the writer; how long the last update had waited; the key, position and receipt of each.

for at = 3, #ARGV, 3 do
    local field, position, receipt = field_of(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
    local value = run('HGET', WAITING, field)
    local update = parsed(value)
    if update and update.position == position then
        redis.call('HDEL', WAITING, field)
        leave(update)
    elseif update then
        release_newer(field, update, value, position, receipt)
    end
end
run('HSET', WRITERS, WRITER, ARGV[2])
