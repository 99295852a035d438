-- Exact arithmetic with integers below 2^53, of which Lua's numbers represent every one.

local fmod = math.fmod

-- The quotient and the rest of a division, both rounded down.
local function divide(number, divisor)
    local rest = fmod(number, divisor)
    if rest < 0 then
        rest = rest + divisor
    end
    return (number - rest) / divisor, rest
end

-- The quotient and the rest of factor * other / divisor. Factors and divisor are at most 2^45.
local function multiply_and_divide(factor, other, divisor)
    if factor * other < 2 ^ 53 then
        return divide(factor * other, divisor)
    end
    -- Digit by digit.
    local digits = {}
    while factor > 0 do
        factor, digits[#digits + 1] = divide(factor, 128)
    end
    local quotient, rest = 0, 0
    for place = #digits, 1, -1 do
        local part
        part, rest = divide(rest * 128 + digits[place] * other, divisor)
        quotient = quotient * 128 + part
    end
    return quotient, rest
end
