"""The command line.

- `main`: the group of all commands, and how errors end one
- `arguments`: arguments and options that several commands take
- `tables`: tables on the terminal
- `bench_tables`: those of the commands below `bench`
- `extensions`: commands that other distributions add
- `completion`: what a shell offers where a command is being typed
- `doctor`: what is installed, found and broken, for the command `doctor`
- `scaffold`: packages begun from a template
- `prediction_files`: drawn networks on a user's own inputs
- `commands`: the commands
"""
