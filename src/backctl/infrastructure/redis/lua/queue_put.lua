-- Queues an update, or replaces the value of the waiting one. Returns its position; false if the queue is full.
-- KEYS: of the queue and the writer. ARGV: the writer; the key; the value; its flags; the limit; a new identity.

local moment = now()
local _, last = state(META, ARGV[6])
local key, position, flags = ARGV[2], math.max(last + 1, moment), tonumber(ARGV[4])
local update = parsed(run('HGET', WAITING, field_of(key)))
if update then
    position = math.max(position, update.position + 1)
    replace(update, position, flags, moment, RETRIES)
elseif run('HLEN', WAITING) >= tonumber(ARGV[5]) then
    return false
else
    update = {position = position, queued_at = moment, replaced_at = 0, attempts = 0, flags = flags, receipt = FREE}
    append(STREAM, update, key)
    redis.call('HSETNX', META, WRITER, '')
end
redis.call('HSET', META, 'position', string.format('%.0f', position))
store(key, update, ARGV[3])
return position
