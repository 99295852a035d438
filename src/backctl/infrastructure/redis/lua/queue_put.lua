-- Queues an update in the usual cases, in little time. Returns its position; -1 if the queue is full; 0 in all other
-- cases, in which it changes nothing, and `queue_put_any` queues it.
-- KEYS: the waiting updates; the stream of the writer. ARGV: the field; its content; the limit.

local call, field, moment = redis.call, ARGV[1], now()
local found = redis.pcall('HMGET', KEYS[1], 'state', field)
local state, value = found[1], found[2]
if not state or #state ~= STATE_SIZE then
    return 0
end
local identity, last = struct.unpack(STATE, state)
local position = math.max(last + 1, moment)
local queued_at, replaced_at, milliseconds, sequence, receipt = moment, 0, position, 0, FREE
if last < 0 or position >= LARGEST then
    return 0
elseif value then
    if #value < HEADER_SIZE then
        return 0
    end
    local format, former, attempts
    format, former, queued_at, replaced_at, milliseconds, sequence, attempts, receipt = struct.unpack(HEADER, value)
    if format ~= 1 or attempts ~= 0 or former >= position then
        return 0
    end
    if receipt ~= FREE and replaced_at == 0 then
        replaced_at = moment
    end
elseif call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then -- one field is the state
    return -1
else
    local added = redis.pcall('XADD', KEYS[2], 'NOMKSTREAM', string.format('%.0f-0', position), 'field', field)
    if type(added) ~= 'string' then
        return 0
    end
end
local header = struct.pack(HEADER, 1, position, queued_at, replaced_at, milliseconds, sequence, 0, receipt)
call('HSET', KEYS[1], field, header .. ARGV[2], 'state', struct.pack(STATE, identity, position))
return position
