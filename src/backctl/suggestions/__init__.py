"""What a TAB offers of what is stored: accounts, roles and profiles.

`backctl __complete` is answered before the command line is loaded, within five times the start of the interpreter. So
these modules load the settings, SQLite and nothing more; a test says if they do.
"""
