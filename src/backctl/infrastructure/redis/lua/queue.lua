-- What the scripts of the write-behind queue share. Keys with another kind of content are removed, because other
-- programs can write to the server.

local GROUP = 'workers'

-- Executes a command; if its key is of another type, removes that first.
local function run(command, key, ...)
    local reply = redis.pcall(command, key, ...)
    if type(reply) ~= 'table' or not reply.err then
        return reply
    end
    if string.find(reply.err, 'WRONGTYPE', 1, true) then
        redis.call('UNLINK', key)
    end
    return redis.call(command, key, ...) -- raises other errors
end

local function whole(number)
    return number >= 0 and number < LARGEST
end

-- Returns the update that a field of the hash contains; nil if there is none, or if it is not from this program.
local function parsed(value)
    if not value or #value < HEADER_SIZE then
        return nil
    end
    local format, position, queued_at, replaced_at, milliseconds, sequence, attempts, receipt = struct.unpack(HEADER, value)
    if format ~= 1 or not (whole(position) and whole(queued_at) and whole(replaced_at) and whole(milliseconds)
        and whole(sequence) and whole(attempts)) then
        return nil
    end
    return {
        position = position, queued_at = queued_at, replaced_at = replaced_at, milliseconds = milliseconds,
        sequence = sequence, attempts = attempts, receipt = receipt
    }
end

local function encoded(update, content)
    return struct.pack(HEADER, 1, update.position, update.queued_at, update.replaced_at, update.milliseconds,
        update.sequence, update.attempts, update.receipt) .. content
end

local function entry_id(update)
    return string.format('%.0f-%.0f', update.milliseconds, update.sequence)
end

-- Adds an entry to the end of a stream. Its id is the position of the update, if no later one is there.
local function append(stream, update, field)
    local id = string.format('%.0f-0', update.position)
    local added = redis.pcall('XADD', stream, id, 'field', field)
    if type(added) == 'table' then
        added = redis.pcall('XADD', stream, '*', 'field', field)
    end
    local problem = type(added) == 'table' and added.err or ''
    local milliseconds, sequence = string.match(problem == '' and added or '', '^(%d+)-(%d+)$')
    if problem == '' and whole(tonumber(milliseconds)) and whole(tonumber(sequence)) then
        update.milliseconds, update.sequence = tonumber(milliseconds), tonumber(sequence)
        return
    end
    if problem == '' or string.find(problem, 'WRONGTYPE', 1, true) or string.find(problem, 'exhausted', 1, true) then
        redis.call('UNLINK', stream) -- another program has written to it
    end
    redis.call('XADD', stream, id, 'field', field)
    update.milliseconds, update.sequence = update.position, 0
end

-- Returns the identity and the last position. Gives the queue a new identity if it has none.
local function state(waiting, new)
    local found = run('HGET', waiting, 'state') or ''
    if #found == STATE_SIZE and string.match(found, '^' .. string.rep('%x', 32)) then
        local identity, position = struct.unpack(STATE, found)
        if whole(position) then
            return identity, position
        end
    end
    redis.call('HSET', waiting, 'state', struct.pack(STATE, new, 0))
    return new, 0
end
