-- Returns fields of the waiting updates. KEYS: the waiting updates. ARGV: the fields.

return read('HMGET', KEYS[1], unpack(ARGV)) or {}
