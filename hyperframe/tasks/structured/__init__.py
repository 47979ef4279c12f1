"""Tasks whose outputs are not one vector: the base classes that a subclass gives its data.

- `dense_classification`: a class for each place, such as the pixels of an image or the steps of a sequence
- `dense_meter`: the meter of such networks and their ensembles
"""
