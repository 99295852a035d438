-- Takes updates that are due, oldest first, and those that another worker took too long ago.
-- KEYS: the waiting updates; the stream and the retries of each writer. ARGV: the receipt; the worker; the lease, in ms;
-- how many at most; the writers. Returns how many updates wait, and a list of the number of the writer, the key and the
-- content of the field of each that was taken.

local receipt, worker, lease, count = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local moment, taken = now(), {}

local function stream_of(number)
    return KEYS[2 * number]
end

local function named(flat)
    local found = {}
    for at = 1, #flat, 2 do
        found[flat[at]] = flat[at + 1]
    end
    return found
end

local function before(one, other)
    if one.milliseconds ~= other.milliseconds then
        return one.milliseconds < other.milliseconds
    elseif one.sequence ~= other.sequence then
        return one.sequence < other.sequence
    end
    return one.number < other.number
end

-- Removes the workers that are gone, which have nothing any more.
local function remove_gone_workers(stream)
    for _, reply in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do
        local consumer = named(reply)
        if consumer.name ~= worker and consumer.pending == 0 and consumer.idle >= lease then
            redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, consumer.name)
        end
    end
end

-- Makes retries that are due pending again, as if a worker had taken them long ago.
local function return_retries(stream, retries)
    local due = run('ZRANGEBYSCORE', retries, '-inf', moment, 'LIMIT', 0, 1000)
    local command, ids = {'XCLAIM', stream, GROUP, worker, 0}, 0
    for _, id in ipairs(due) do
        local milliseconds, sequence = string.match(id, '^(%d+)-(%d+)$')
        if milliseconds and whole(tonumber(milliseconds)) and whole(tonumber(sequence)) then
            command[#command + 1], ids = id, ids + 1
        end
    end
    if ids > 0 then
        for _, word in ipairs({'TIME', 0, 'FORCE', 'JUSTID'}) do
            command[#command + 1] = word
        end
        redis.call(unpack(command))
    end
    if #due > 0 then
        redis.call('ZREM', retries, unpack(due))
    end
end

-- Returns how many entries to take from each stream: those that are pending too long, and new ones.
local function shares(numbers)
    local found, due = {}, {}
    for _, number in ipairs(numbers) do
        found[number] = {pending = #numbers == 1 and count or 0, new = #numbers == 1 and count or 0}
    end
    if #numbers == 1 then
        return found
    end
    local function add(entries, number, kind)
        for _, entry in ipairs(entries) do
            local milliseconds, sequence = string.match(entry[1], '^(%d+)-(%d+)$')
            due[#due + 1] = {
                milliseconds = tonumber(milliseconds), sequence = tonumber(sequence), number = number, kind = kind
            }
        end
    end
    for _, number in ipairs(numbers) do
        local stream = stream_of(number)
        add(redis.call('XPENDING', stream, GROUP, 'IDLE', lease, '-', '+', count), number, 'pending')
        for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
            local group = named(reply)
            if group.name == GROUP then
                local start = '(' .. group['last-delivered-id']
                add(redis.call('XRANGE', stream, start, '+', 'COUNT', count), number, 'new')
            end
        end
    end
    table.sort(due, before)
    for at = 1, math.min(count, #due) do
        local share = found[due[at].number]
        share[due[at].kind] = share[due[at].kind] + 1
    end
    return found
end

-- Gives updates to the worker. Entries without an update are removed.
local function deliver(number, entries)
    local stream, prefix = stream_of(number), ARGV[4 + number] .. ':'
    for _, entry in ipairs(entries) do
        local id, field = entry[1], entry[2][2]
        local value = string.sub(field, 1, #prefix) == prefix and run('HGET', KEYS[1], field)
        local update = parsed(value)
        if update and entry_id(update) == id then
            update.receipt, update.replaced_at, update.number = receipt, 0, number
            update.key, update.value = string.sub(field, #prefix + 1), encoded(update, string.sub(value, HEADER_SIZE + 1))
            redis.call('HSET', KEYS[1], field, update.value)
            taken[#taken + 1] = update
        else
            redis.call('XACK', stream, GROUP, id)
            redis.call('XDEL', stream, id)
        end
    end
end

local busy, is_new = {}, {}
for number = 1, #ARGV - 4 do
    local stream = stream_of(number)
    if run('XLEN', stream) > 0 then
        redis.pcall('XGROUP', 'CREATE', stream, GROUP, '0') -- fails if there is one
        is_new[number] = redis.call('XGROUP', 'CREATECONSUMER', stream, GROUP, worker) == 1
        return_retries(stream, KEYS[2 * number + 1])
        busy[#busy + 1] = number
    end
end
for number, share in pairs(shares(busy)) do
    local stream, cursor, claimed = stream_of(number), '0-0', 0
    while claimed < share.pending do
        local reply = redis.call('XAUTOCLAIM', stream, GROUP, worker, lease, cursor, 'COUNT', share.pending - claimed)
        cursor, claimed = reply[1], claimed + #reply[2]
        deliver(number, reply[2])
        if cursor == '0-0' then
            break
        end
    end
    local left = math.min(share.new, count - #taken)
    if left > 0 then
        local reply = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', left, 'STREAMS', stream, '>')
        deliver(number, reply and reply[1][2] or {})
    end
    if is_new[number] then
        remove_gone_workers(stream)
    end
end
table.sort(taken, before)
local replies = {}
for at, update in ipairs(taken) do
    replies[at] = {update.number, update.key, update.value}
end
return {run('HLEN', KEYS[1]) - run('HEXISTS', KEYS[1], 'state'), replies}
