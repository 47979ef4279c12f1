"""The command line.

- `main`: the commands
- `arguments`: arguments and options that several commands take
- `tables`: tables on the terminal
- `extensions`: commands that plugins add
- `scaffold`: packages begun from a template
- `prediction_files`: drawn networks on a user's own inputs
- `commands`: commands that have a module of their own
"""
