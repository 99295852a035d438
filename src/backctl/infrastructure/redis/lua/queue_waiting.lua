-- Returns a field of the waiting updates. KEYS: the waiting updates. ARGV: the field.

return read('HGET', KEYS[1], ARGV[1]) or false
