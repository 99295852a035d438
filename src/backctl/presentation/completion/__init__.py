"""Completion scripts for bash, zsh and fish, written from the command tree.

The tree is inside the script, so that most TABs start no process; where a stored name may stand the script asks the
program it completes for (`backctl.suggestions`). Shells evaluate parts of what completion functions are given, so words
are refused on both sides unless they are plain; help texts only ever stand in quotes.
"""
