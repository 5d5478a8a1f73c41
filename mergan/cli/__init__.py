"""The command line: the words that are typed, errors in one line, the exit status, --help."""
