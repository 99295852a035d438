-- Lets updates wait, unless another worker has taken them since. Replaced ones are due at once.
-- KEYS: of the writer. ARGV: the writer; for how long, in µs; the key, position and receipt of each.

local after, moment = tonumber(ARGV[2]), now()
for at = 3, #ARGV, 3 do
    local field, position, receipt = field_of(ARGV[at]), tonumber(ARGV[at + 1]), ARGV[at + 2]
    local value = run('HGET', WAITING, field)
    local update, due = parsed(value), 0
    if update and update.receipt == receipt and update.position >= position then
        if after > 0 and update.position == position then
            update.attempts, due = update.attempts + 1, moment + after
        end
        update.receipt, update.replaced_at = FREE, 0
        store(field, update, content_of(value))
        run('XACK', STREAM, GROUP, entry_id(update))
        run('ZADD', RETRIES, due, entry_id(update))
    end
end
