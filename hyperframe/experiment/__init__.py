"""A configuration's parts on one device, the loss of a batch, and drawn networks measured.

- `build`: a configuration's parts, built on one device
- `targets`: the target of a configuration: its module made, or a part of it, and traced
- `loss`: the loss of one batch and its gradient
- `terms`: diversity terms with their weights, and what each is given
- `outputs`: outputs of all networks on the same inputs, and the way back of a gradient at them
- `pairs`: distances of all pairs of networks, and a kernel's bandwidth, for terms that drive networks apart
- `preflight`: one small pass through all parts, tried before anything is written
- `evaluation`: draw networks, measure them, estimate their entropy
- `step_memory`: bytes of a training step, found by one with tensors without values
- `describe`: layers, symmetries, sizes and memory, as results
- `bound`: whether a variational loss is the bound of the evidence, and if not, why
"""
