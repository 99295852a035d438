-- Replaces the sequence and notifies all processes of what was invalidated.
-- KEYS: the sequence. ARGV: its new value; the channel; what was invalidated. Returns its previous value.

local before = redis.pcall('GET', KEYS[1])
if type(before) ~= 'string' or #before ~= 8 then
    before = ''
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], string.char(#before) .. before .. ARGV[1] .. ARGV[3])
return before
