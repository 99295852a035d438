-- The keys of a queue and of one of its writers, and what several scripts do with them.

local META, WAITING, STREAM, RETRIES, MOVED, BURIED = unpack(KEYS)
local WRITER = ARGV[1]

local function field_of(key)
    return WRITER .. ':' .. key
end

-- Removes the entry of an update from the line.
local function leave(update)
    local id = entry_id(update)
    run('XACK', STREAM, GROUP, id)
    run('XDEL', STREAM, id)
    run('ZREM', RETRIES, id)
    run('ZREM', MOVED, id)
end

local function store(key, update, content)
    run('HSET', WAITING, field_of(key), encoded(update, content))
end

-- Stores an update that waits at the end of the line, although it was queued earlier.
local function store_at_the_end(key, update, content)
    update.receipt, update.replaced_at = FREE, 0
    append(STREAM, update, key)
    run('ZADD', MOVED, update.queued_at, entry_id(update))
    store(key, update, content)
end

-- Lets an update wait that replaced another one while a worker had that. What it replaces was written or buried, so
-- it begins a new wait.
local function release_newer(key, update, value, position, receipt)
    if update.receipt == receipt and update.position > position then
        leave(update)
        if update.replaced_at > 0 then
            update.queued_at = update.replaced_at
        end
        store_at_the_end(key, update, payload(value))
    end
end

-- Moves an update to the dead-letter list.
local function bury(key, update, value, failed_at, failed, problem)
    run('HDEL', WAITING, field_of(key))
    leave(update)
    local head = struct.pack(DEAD, update.position, update.queued_at, failed_at, update.attempts + failed, update.flags,
        #key, key, #problem, problem)
    run('ZREMRANGEBYSCORE', BURIED, update.position, update.position)
    run('ZADD', BURIED, update.position, head .. payload(value))
end
