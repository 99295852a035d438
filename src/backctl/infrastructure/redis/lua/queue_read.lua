-- What scripts of the write-behind queue share that only read.

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
