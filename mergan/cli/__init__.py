"""The command line: its arguments, one-line errors, the exit status, --help."""
