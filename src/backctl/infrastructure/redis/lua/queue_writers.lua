-- Returns the writers of a queue, and how long the last update that each wrote had waited. KEYS: the writers.

return read('HGETALL', KEYS[1]) or {}
