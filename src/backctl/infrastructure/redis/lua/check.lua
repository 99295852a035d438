-- Check requests against policies. KEYS: the state of each policy for the first request, then for the second, and so on.
-- ARGV: 1 to consume or 0 to look only, the number of policies, the algorithm, limit, window and capacity of each, and the
-- cost of each request. Returns remaining, wait and time until reset of each state, in the order of the keys.

local algorithms = {['sliding-window'] = sliding_window, ['sliding-counter'] = sliding_counter, gcra = gcra}

local consume, policies, moment, answers = ARGV[1] == '1', {}, now(), {}
for number = 1, tonumber(ARGV[2]) do
    local at = 4 * number - 1
    policies[number] = {
        algorithm = algorithms[ARGV[at]],
        limit = tonumber(ARGV[at + 1]),
        window = tonumber(ARGV[at + 2]),
        capacity = tonumber(ARGV[at + 3]),
    }
end

for request = 1, #KEYS / #policies do
    local cost = tonumber(ARGV[2 + 4 * #policies + request])
    local states, waits, admitted = {}, {}, consume
    for number, policy in ipairs(policies) do
        local key = KEYS[(request - 1) * #policies + number]
        states[number] = policy.algorithm.load(key, policy, moment)
        waits[number] = policy.algorithm.wait(states[number], cost)
        admitted = admitted and waits[number] == 0
    end
    for number, policy in ipairs(policies) do
        if admitted then
            policy.algorithm.admit(states[number], cost)
        end
        local remaining, reset = policy.algorithm.remaining(states[number]), policy.algorithm.reset_after(states[number])
        answers[#answers + 1] = struct.pack('>i8i8i8', remaining, waits[number], reset)
    end
end
return table.concat(answers)
