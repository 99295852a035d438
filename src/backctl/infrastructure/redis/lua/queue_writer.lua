-- The keys of one writer of a queue, and what several scripts do with them.

local WAITING, STREAM, RETRIES, MOVED, BURIED, WRITERS = unpack(KEYS)
local WRITER = ARGV[1]
local DEAD = '>i8i8i8i4I4c0I4c0'

local function field_of(key)
    return WRITER .. ':' .. key
end

local function content_of(value)
    return string.sub(value, HEADER_SIZE + 1)
end

-- Removes the entry of an update from the line.
local function leave(update)
    local id = entry_id(update)
    run('XACK', STREAM, GROUP, id)
    run('XDEL', STREAM, id)
    run('ZREM', RETRIES, id)
    run('ZREM', MOVED, id)
end

local function store(field, update, content)
    run('HSET', WAITING, field, encoded(update, content))
end

-- Replaces a waiting update by a later one, which the caller stores. It is due at once if no worker has it.
local function replace(update, position, moment)
    if update.receipt ~= FREE then
        update.replaced_at = update.replaced_at > 0 and update.replaced_at or moment
    elseif update.attempts > 0 then
        run('ZADD', RETRIES, 'XX', 0, entry_id(update))
    end
    update.position, update.attempts = position, 0
end

-- Stores an update that waits at the end of the line, although it was queued earlier.
local function store_at_the_end(field, update, content)
    update.receipt, update.replaced_at = FREE, 0
    append(STREAM, update, field)
    run('ZADD', MOVED, update.queued_at, entry_id(update))
    store(field, update, content)
end

-- Lets an update wait that replaced another one while a worker had that. What it replaces was written or buried, so
-- it begins a new wait.
local function release_newer(field, update, value, position, receipt)
    if update.receipt == receipt and update.position > position then
        leave(update)
        if update.replaced_at > 0 then
            update.queued_at = update.replaced_at
        end
        store_at_the_end(field, update, content_of(value))
    end
end

-- Moves an update to the dead-letter list.
local function bury(field, update, value, failed_at, failed, problem)
    run('HDEL', WAITING, field)
    leave(update)
    local key = string.sub(field, #WRITER + 2)
    local head = struct.pack(DEAD, update.position, update.queued_at, failed_at, update.attempts + failed,
        #key, key, #problem, problem)
    run('ZREMRANGEBYSCORE', BURIED, update.position, update.position)
    redis.call('ZADD', BURIED, update.position, head .. content_of(value))
end
