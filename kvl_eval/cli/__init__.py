"""The command line: flags to values, errors to exit codes."""
