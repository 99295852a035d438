-- Moves an update to the dead-letter list, unless it was replaced or another worker has taken it since.
-- KEYS: of the writer. ARGV: the writer; the time; the error; the key, position and receipt.

local field, position, receipt = field_of(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local value = run('HGET', WAITING, field)
local update = parsed(value)
if update and update.position == position and update.receipt == receipt then
    bury(field, update, value, tonumber(ARGV[2]), 1, ARGV[3])
elseif update then
    release_newer(field, update, value, position, receipt)
end
