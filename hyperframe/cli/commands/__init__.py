"""Commands that have a module of their own.

- `bench`: the command `bench`
- `compare`: the command `compare`
- `report`: the command `report`
- `distill`: the command `distill`
- `components`: the commands `plugins`, `check` and `new-plugin`
"""
