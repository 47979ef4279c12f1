"""A module's symmetries, found in its graph: labels carried through it, put together, and tried out.

- `tracer`: `trace`: a module's layers, filters and symmetries, found and tried out
- `walk`: tracing: labels carried through the graph
- `export`: tracing: a module checked, tried out, and exported to a graph
- `labels`: tracing: labels on every entry of an activation
- `factors`: tracing: factors and signs that are products of others, and what is free of them
- `findings`: tracing: records of parameters, labels, layers, and of what is frozen
- `state`: tracing: what has been found so far
- `interchangeable`: tracing: which units may change places
- `assemble`: tracing: what was found, as a spec and a structure
- `verify`: tracing: what is claimed, tried out, and frozen where it fails
- `crossed`: tracing: activations whose entries belong to units along two axes
- `computed`: tracing: values computed from parameters, labelled axis by axis
- `shifts`: tracing: biases that a BatchNorm behind them takes away
- `rules`: the rules of tracing: how each operation carries labels on
"""
