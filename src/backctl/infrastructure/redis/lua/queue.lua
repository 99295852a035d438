-- What the scripts of the write-behind queue share.
-- A waiting update is a field WRITER:KEY in a hash, and an entry with its key in the stream of its writer, whose id is
-- its place in the line. An entry that a worker has taken is pending in the group of the stream; one that is to be
-- retried is not pending any more, but in a sorted set by the time when it is due. A second sorted set, by the time
-- when they were queued, has the entries that are not in the order of that time.
-- Keys with another kind of content are removed, because other programs can write to the server.

local GROUP, FREE, LARGEST = 'workers', string.rep('\0', 8), 2 ^ 53
local HEADER = '>Bi8i8i8i8i8i4Bc8'
local HEADER_SIZE = struct.size(HEADER)
local DEAD = '>i8i8i8i4BI4c0I4c0'

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

-- Executes a command that only reads; nil if its key is of another type.
local function read(command, key, ...)
    local reply = redis.pcall(command, key, ...)
    if type(reply) ~= 'table' or not reply.err then
        return reply
    end
    if string.find(reply.err, 'WRONGTYPE', 1, true) then
        return nil
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
    local update, format = {}, nil
    format, update.position, update.queued_at, update.replaced_at, update.milliseconds, update.sequence, update.attempts,
        update.flags, update.receipt = struct.unpack(HEADER, value)
    local sound = whole(update.position) and whole(update.queued_at) and whole(update.replaced_at)
        and whole(update.milliseconds) and whole(update.sequence) and whole(update.attempts)
    return format == 1 and sound and update or nil
end

local function payload(value)
    return string.sub(value, HEADER_SIZE + 1)
end

local function encoded(update, content)
    return struct.pack(HEADER, 1, update.position, update.queued_at, update.replaced_at, update.milliseconds,
        update.sequence, update.attempts, update.flags, update.receipt) .. content
end

local function entry_id(update)
    return string.format('%.0f-%.0f', update.milliseconds, update.sequence)
end

-- Returns the identity and the last position. Gives the queue a new identity if it has none.
local function state(meta, new)
    local found = run('HMGET', meta, 'identity', 'position')
    local identity, digits = found[1] or '', string.match(found[2] or '', '^%d+$')
    local position = digits and tonumber(digits)
    if position and whole(position) and string.match(identity, '^%x+$') and #identity == #new then
        return identity, position
    end
    redis.call('HSET', meta, 'identity', new, 'position', 0)
    return new, 0
end

-- Adds an update to the end of a stream. Its id is its position, if no later one is there.
local function append(stream, update, key)
    local id = string.format('%.0f-0', update.position)
    local added = redis.pcall('XADD', stream, id, 'key', key)
    if type(added) == 'table' then
        added = redis.pcall('XADD', stream, '*', 'key', key)
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
    redis.call('XADD', stream, id, 'key', key)
    update.milliseconds, update.sequence = update.position, 0
end

-- Replaces the value of a waiting update, which the caller then stores. It is due at once if no worker has it.
local function replace(update, position, flags, moment, retries)
    if update.receipt ~= FREE then
        update.replaced_at = update.replaced_at > 0 and update.replaced_at or moment
    elseif update.attempts > 0 then
        run('ZADD', retries, 'XX', 0, entry_id(update))
    end
    update.position, update.flags, update.attempts = position, flags, 0
end
