"""Tasks whose outputs are not one vector: the base classes that a subclass gives its data.

- `dense_classification`: a class for each place, such as the pixels of an image or the steps of a sequence
- `dense_meter`: the meter of such networks and their ensembles
- `multi_label`: several labels for an example, each of which is there or not; their meter
- `heads`: a task made of named tasks, with a head and a loss for each; their meter
- `layout`: named tensors laid out in one vector
"""
