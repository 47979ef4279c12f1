"""The commands.

- `train`: the command `train`
- `evaluate`: the command `evaluate`
- `analyse`: the command `analyse`
- `sample`: the commands `sample` and `export`
- `predict`: the command `predict`
- `report`: the command `report`
- `distill`: the command `distill`
- `compare`: the command `compare`
- `sweep`: the command `sweep`
- `inspect`: the commands `runs`, `describe`, `config` and `doctor`
- `components`: the commands `plugins`, `check` and `new-plugin`
- `bench`: the command `bench`
"""
