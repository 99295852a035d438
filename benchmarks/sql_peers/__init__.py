"""The same queries on the same file with less code around them, to measure the cost of the database libraries.

Each module is a script, `python FILE DATABASE list|show [IDENT]`, with the same output as `backctl user … -o json`.
"""
