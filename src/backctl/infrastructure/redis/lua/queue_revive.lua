-- Removes dead updates, and lets them wait again if wanted. One with a newer waiting update is only removed.
-- KEYS: of the writer. ARGV: the writer; whether they wait again; how many at most; their positions, or none for the
-- first ones. Returns how many there were.

local again, limit, moment, count = ARGV[2] == '1', ARGV[3], now(), 0

local function wait_again(position, queued_at, key, content)
    local field = field_of(key)
    local update = parsed(run('HGET', WAITING, field))
    if not update then
        store_at_the_end(field, {position = position, queued_at = queued_at, attempts = 0}, content)
        run('HSETNX', WRITERS, WRITER, '')
    elseif update.position < position then
        replace(update, position, moment)
        store(field, update, content)
    end
end

local function remove(first, last)
    local members = run('ZRANGEBYSCORE', BURIED, first, last, 'LIMIT', 0, limit)
    for _, member in ipairs(members) do
        redis.call('ZREM', BURIED, member)
        local sound, position, queued_at, _, _, key, _, content = pcall(struct.unpack, DEAD, member)
        if again and sound and whole(position) and whole(queued_at) then
            wait_again(position, queued_at, key, string.sub(member, content))
        end
    end
    count = count + #members
end

if #ARGV == 3 then
    remove('-inf', '+inf')
end
for at = 4, #ARGV do
    remove(ARGV[at], ARGV[at])
end
return count
