-- Returns what is known about a queue: names and values. KEYS: what is known about the queue.

return read('HGETALL', KEYS[1]) or {}
