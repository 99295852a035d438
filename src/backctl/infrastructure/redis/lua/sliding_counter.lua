-- The counts of the current and the previous window, and the time of the last admission.

local sliding_counter = {}

function sliding_counter.load(key, policy, now)
    local window = policy.window
    local state = {key = key, now = now, limit = policy.limit, window = window, moment = now, current = 0, previous = 0}
    local stored = redis.call('GET', key)
    state.start = now - now % window
    if stored then
        local current, previous, last = unpacked(stored)
        if last <= now + window then -- else from a clock that was far ahead
            state.moment = math.max(now, last)
            state.start = state.moment - state.moment % window
            local begun = last - last % window
            if begun == state.start then
                state.current, state.previous = current, previous
            elseif begun + window == state.start then
                state.previous = current
            end
        end
    end
    return state
end

function sliding_counter.wait(state, cost)
    if cost > state.limit then
        return -1
    end
    local room, start, previous = state.limit - state.current - cost, state.start, state.previous
    if room < 0 then -- not before the next window, in which the current one is the previous
        room, start, previous = state.limit - cost, start + state.window, state.current
    end
    local earliest = start
    if previous > room then
        earliest = start + state.window - multiply_and_divide(room, state.window, previous)
    end
    return earliest <= state.moment and 0 or earliest - state.now
end

function sliding_counter.admit(state, cost)
    state.current = state.current + cost
    set(state.key, packed(state.current, state.previous, state.moment), state.start + 2 * state.window - state.now)
end

function sliding_counter.remaining(state)
    local part = state.start + state.window - state.moment
    local overlapping, rest = multiply_and_divide(state.previous, part, state.window)
    if rest > 0 then
        overlapping = overlapping + 1
    end
    return math.max(0, state.limit - state.current - overlapping)
end

function sliding_counter.reset_after(state)
    if state.current > 0 then
        return state.start + 2 * state.window - state.now
    end
    return state.previous > 0 and state.start + state.window - state.now or 0
end

algorithms['sliding-counter'] = sliding_counter
