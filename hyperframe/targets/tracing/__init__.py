"""A module's symmetries, found in its graph: labels carried through it, put together, and tried out.

- `tracer`: `trace`: a module's layers, filters and symmetries, found and tried out
- `walk`: labels carried through the graph
- `export`: a module checked, tried out, and exported to a graph
- `labels`: labels on every entry of an activation
- `factors`: factors and signs that are products of others, and what is free of them
- `findings`: records of parameters and layers, and labels that are united or frozen
- `parameters`: labels on parameters, and which layer has which
- `state`: all that has been found so far, and activations labelled
- `interchangeable`: which units may change places
- `assemble`: a spec and a structure of what was found
- `verify`: claims tried out, and frozen where they fail
- `shifts`: biases that a BatchNorm behind them takes away
- `rules`: the rules of tracing: how each operation carries labels on
"""
