"""Works on many accounts, records, lines or tokens in one command, and reports what happened to each."""
