-- What the algorithms share: `load` reads a state, and the other functions are those of the state in Python.

local algorithms = {}

-- A state of three numbers, and the numbers of a stored state.
local function packed(first, second, third)
    return struct.pack('>I8I8I8', first, second, third)
end

local function unpacked(stored)
    if #stored ~= 24 then
        error('damaged state')
    end
    return struct.unpack('>I8I8I8', stored)
end
