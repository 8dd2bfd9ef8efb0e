"""The command line: a module parses one subcommand, calls the engine and prints. Torch is imported when work starts."""
