"""How a module runs with the weights of many networks.

- `running`: one network as it is, several as one batch of operations; a copy of the module for each thread
- `trunk`: what comes before any generated weight, run once for all networks
- `convolution`: convolutions of one network on a CPU: layout and products
- `probes`: what a module does, found by trying a copy of it out
- `batching`: what torch has no batched form of
- `norm_statistics`: statistics of normalisations as plain means
"""
