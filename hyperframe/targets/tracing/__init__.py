"""A module's symmetries, found in its graph: labels carried through it, put together, and tried out.

- `tracer`: `trace`: a module's layers, filters and symmetries, found and tried out
- `walk`: labels carried through the graph
- `export`: a module checked, tried out, and exported to a graph
- `labels`: labels on every entry of an activation
- `factors`: factors and signs that are products of others, and what is free of them
- `findings`: records of parameters, labels, layers, and of what is frozen
- `state`: what has been found so far
- `interchangeable`: which units may change places
- `assemble`: what was found, as a spec and a structure
- `verify`: what is claimed, tried out, and frozen where it fails
- `crossed`: activations whose entries belong to units along two axes
- `shifts`: biases that a BatchNorm behind them takes away
- `rules`: the rules of tracing: how each operation carries labels on
"""
