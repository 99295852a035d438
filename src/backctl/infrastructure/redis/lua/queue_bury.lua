-- Moves an update to the dead-letter list, unless it was replaced or another worker has taken it since.
-- KEYS: of the queue and the writer. ARGV: the writer; the time; the error; the key, position and receipt.

local key, position, receipt = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local value = run('HGET', WAITING, field_of(key))
local update = parsed(value)
if update and update.position == position and update.receipt == receipt then
    bury(key, update, value, tonumber(ARGV[2]), 1, ARGV[3])
elseif update then
    release_newer(key, update, value, position, receipt)
end
