"""The same questions put to the same file with less around them: what the database's libraries cost by themselves.

Each module is a script, `python FILE DATABASE list|show [IDENT]`, that prints what `backctl user … -o json` prints.
"""
