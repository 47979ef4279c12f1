"""The configurations that ship, as YAML files; installed as the package `hyperframe.configs`."""
