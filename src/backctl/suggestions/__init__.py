"""Shell completion of stored names: accounts, keys, roles, profiles and policies.

`backctl __complete` answers before the command line is loaded, within five times the start-up time of the interpreter.
So these modules load only the settings and SQLite; a test checks it.
"""
