-- Check requests against policies. KEYS: the state under each policy for the first request, then for the second, and so on;
-- a key ends with the algorithm, limit, window, capacity and name of its policy. ARGV: 1 to consume or 0 to look only, and
-- the cost of each request. Returns remaining, wait and time until reset of each state, in the order of the keys. A wait of
-- -2 means that a key has another kind or content.

local consume, policies, moment, answers = ARGV[1] == '1', {}, now(), {}
for number = 1, #KEYS / (#ARGV - 1) do
    local algorithm, limit, window, capacity = string.match(KEYS[number], '}:([a-z-]+):(%d+):(%d+):(%d+):')
    policies[number] = {
        algorithm = algorithms[algorithm],
        limit = tonumber(limit),
        window = tonumber(window),
        capacity = tonumber(capacity),
    }
end

local function decide(request)
    local cost = tonumber(ARGV[request + 1])
    local states, waits, admitted, found = {}, {}, consume, {}
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
        found[number] = struct.pack('>i8i8i8', remaining, waits[number], reset)
    end
    return table.concat(found)
end

for request = 1, #ARGV - 1 do
    local decided, answer = pcall(decide, request)
    if not decided then
        local problem = type(answer) == 'table' and answer.err or tostring(answer)
        if not (string.find(problem, 'WRONGTYPE') or string.find(problem, 'damaged state')) then
            return {err = problem}
        end
        answer = string.rep(struct.pack('>i8i8i8', 0, -2, 0), #policies)
    end
    answers[request] = answer
end
return table.concat(answers)
