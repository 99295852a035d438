-- The theoretical arrival time, its fraction in units of 1 / limit, and the time of the last admission.

local gcra = {}

function gcra.load(key, policy, now)
    local state = {key = key, now = now, moment = now, tat = now, fraction = 0}
    state.limit, state.window, state.capacity = policy.limit, policy.window, policy.capacity
    local stored = redis.call('GET', key)
    if stored then
        local tat, fraction, last = unpacked(stored)
        if last <= now + state.window then -- else from a clock that was far ahead
            state.moment = math.max(now, last)
            state.tat = state.moment
            if tat >= state.moment then
                state.tat, state.fraction = tat, fraction
            end
        end
    end
    return state
end

function gcra.wait(state, cost)
    if cost > state.capacity then
        return -1
    end
    local tolerance, rest = multiply_and_divide(state.capacity - cost, state.window, state.limit)
    if rest < state.fraction then
        tolerance = tolerance - 1
    end
    local earliest = state.tat - tolerance
    return earliest <= state.moment and 0 or earliest - state.now
end

function gcra.admit(state, cost)
    local whole, rest = multiply_and_divide(cost, state.window, state.limit)
    local carry
    carry, state.fraction = divide(rest + state.fraction, state.limit)
    state.tat = state.tat + whole + carry
    set(state.key, packed(state.tat, state.fraction, state.moment), gcra.reset_after(state))
end

function gcra.remaining(state)
    local used, rest = multiply_and_divide(state.limit, state.tat - state.moment, state.window)
    local more
    more, rest = divide(rest + state.fraction, state.window)
    used = used + more
    if rest > 0 then
        used = used + 1
    end
    return math.max(0, state.capacity - used)
end

function gcra.reset_after(state)
    if state.tat == state.moment and state.fraction == 0 then
        return 0
    end
    return state.tat + (state.fraction > 0 and 1 or 0) - state.now
end

algorithms['gcra'] = gcra
