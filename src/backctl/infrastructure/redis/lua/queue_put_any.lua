-- Queues an update, or replaces the value of the waiting one. Returns its position; -1 if the queue is full.
-- KEYS: of the writer. ARGV: the writer; the field; its content; the limit; a new identity.

local field, moment = ARGV[2], now()
local identity, last = state(WAITING, ARGV[5])
local position, update = math.max(last + 1, moment), parsed(run('HGET', WAITING, field))
if update then
    position = math.max(position, update.position + 1)
    replace(update, position, moment)
elseif redis.call('HLEN', WAITING) > tonumber(ARGV[4]) then -- one field is the state
    return -1
else
    update = {position = position, queued_at = moment, replaced_at = 0, attempts = 0, receipt = FREE}
    append(STREAM, update, field)
    run('HSETNX', WRITERS, WRITER, '')
end
redis.call('HSET', WAITING, 'state', struct.pack(STATE, identity, position))
store(field, update, ARGV[3])
return position
