"""The command line: words in, services called, one rendered answer and one exit code out."""
