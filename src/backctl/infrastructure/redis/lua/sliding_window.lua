-- The times of the admitted requests of one window, oldest first, as a ring of 6-byte numbers in one string.
-- A time is stored modulo 2^48 microseconds, which is longer than any window. The header contains the place of the
-- oldest time, how many times there are, how many fit, and the last time.

local HEADER_FORMAT, HEADER, STAMP, CYCLE = '>I4I4I4I6', 18, 6, 2 ^ 48

local sliding_window = {}

local function time_of(stamp, moment)
    local ago = (moment - stamp) % CYCLE
    if ago >= CYCLE / 2 then
        ago = ago - CYCLE
    end
    return moment - ago
end

-- The time at a place in the order of the times, from 0.
local function time_at(state, place)
    local from = HEADER + (state.head + place) % state.room * STAMP
    local stamp = redis.call('GETRANGE', state.key, from, from + STAMP - 1)
    if #stamp < STAMP then
        error('damaged state')
    end
    return time_of(struct.unpack('>I6', stamp), state.now)
end

-- The number of times up to a moment, among those from `low` to `high`.
local function count_until(state, moment, low, high)
    local step = 1
    while low + step < high and time_at(state, low + step - 1) <= moment do -- most are at the beginning
        low, step = low + step, step * 2
    end
    high = math.min(high, low + step)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if time_at(state, middle) <= moment then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

function sliding_window.load(key, policy, now)
    local state = {key = key, now = now, limit = policy.limit, window = policy.window, head = 0, count = 0, room = 0}
    local header = redis.call('GETRANGE', key, 0, HEADER - 1)
    local last = now
    if header ~= '' then
        if #header < HEADER then
            error('damaged state')
        end
        local stamp
        state.head, state.count, state.room, stamp = struct.unpack(HEADER_FORMAT, header)
        if state.head >= state.room or state.count > state.room then
            error('damaged state')
        end
        last = time_of(stamp, now)
    end
    state.stop = state.count
    if last > now + state.window then -- from a clock that was far ahead
        state.stop = count_until(state, now + state.window, 0, state.count)
        last = state.stop > 0 and time_at(state, state.stop - 1) or now
    end
    state.moment = math.max(now, state.stop > 0 and last or now)
    state.last = last
    state.first = count_until(state, state.moment - state.window, 0, state.stop)
    return state
end

function sliding_window.wait(state, cost)
    if cost > state.limit then
        return -1
    end
    local excess = state.stop - state.first + cost - state.limit
    if excess <= 0 then
        return 0
    end
    return time_at(state, state.first + excess - 1) + state.window - state.now
end

-- Write copies of the new time to a place in the ring; they may continue at its beginning.
local function write(state, place, stamp, copies)
    local before_end = math.min(copies, state.room - place)
    redis.call('SETRANGE', state.key, HEADER + place * STAMP, string.rep(stamp, before_end))
    if copies > before_end then
        redis.call('SETRANGE', state.key, HEADER, string.rep(stamp, copies - before_end))
    end
end

-- Move the times to a larger ring, in one piece so that the server reserves no further memory.
local function grow(state, room)
    local times = ''
    if state.count > 0 then
        local before_end = math.min(state.count, state.room - state.head)
        local from = HEADER + state.head * STAMP
        times = redis.call('GETRANGE', state.key, from, from + before_end * STAMP - 1)
        if state.count > before_end then
            times = times .. redis.call('GETRANGE', state.key, HEADER, HEADER + (state.count - before_end) * STAMP - 1)
        end
    end
    state.head, state.room = 0, room
    redis.call('SET', state.key, string.rep('\0', HEADER) .. times .. string.rep('\0', (room - state.count) * STAMP))
end

function sliding_window.admit(state, cost)
    if state.room > 0 then
        state.head = (state.head + state.first) % state.room
    end
    state.count = state.stop - state.first
    local needed = state.count + cost
    if needed > state.room then
        grow(state, math.min(state.limit, math.max(needed, 2 * state.room)))
    end
    local stamp = struct.pack('>I6', state.moment % CYCLE)
    write(state, (state.head + state.count) % state.room, stamp, cost)
    redis.call('SETRANGE', state.key, 0, struct.pack(HEADER_FORMAT, state.head, needed, state.room, state.moment % CYCLE))
    state.first, state.stop, state.count, state.last = 0, needed, needed, state.moment
    expire(state.key, state.moment + state.window - state.now)
end

function sliding_window.remaining(state)
    return state.limit - (state.stop - state.first)
end

function sliding_window.reset_after(state)
    if state.stop == state.first then
        return 0
    end
    return state.last + state.window - state.now
end

algorithms['sliding-window'] = sliding_window
