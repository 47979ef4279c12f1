"""From names and values to components with checked options.

- `registry`: the plugin manager and the registry of components
- `kinds`: the kinds of components, a row for each
- `yaml_values`: YAML with the types of YAML 1.2, and single values behind `KEY=`
- `choices`: components that a configuration chose, with their options
- `import_path`: targets named `package.module:factory`
- `in_memory`: a module and data handed over in Python, as components
- `dotted_keys`: nested configurations, key by key: what they hold, what has changed, what is missing
- `overrides`: YAML files, `KEY=VALUE`, and how they are merged
- `sections`: the configurations that ship, and options of sections that hold no component, such as `trainer`
- `schema`: complete configurations: components found, options checked
- `schedule`: the learning rate as a function of the step
- `documents`: configurations written down for people and for editors
"""
