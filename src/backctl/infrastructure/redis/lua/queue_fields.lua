-- Scans the names of waiting updates. KEYS: the waiting updates. ARGV: the cursor; how many, roughly.
-- Returns the next cursor and the names.

local found = read('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}
local names = {}
for at = 1, #found[2], 2 do
    if found[2][at] ~= 'state' then
        names[#names + 1] = found[2][at]
    end
end
return {found[1], names}
