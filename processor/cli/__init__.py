"""The command line: names, options and help; what a command does is in `commands`."""
