"""What a TAB offers of what is stored: accounts, roles and profiles.

Stands beside the container and not in it: `backctl __complete` is answered before the command line is loaded, within
two and a half times the start of the interpreter, and the container alone costs four. So these modules import the
operating system and SQLite and nothing of ours that would import more; a test says if they do.
"""
