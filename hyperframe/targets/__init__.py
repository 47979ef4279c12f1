"""A target as data: its parameters, layers and units, and its weights in every layout.

- `params`: `Param`: one parameter of the module and its part in a layer's filters
- `units`: unit spaces, and what operations on them let through
- `spec`: `LayerSpec`, `TargetSpec`: a target as data, checked when built
- `weights`: weights to parameters, rows and state_dicts, and back
- `part`: which parameters are generated, what the others have, and trained weights
- `adapters`: kernels that are given, and changes of low rank that are generated
- `aliases`: a module's tensors under all their names
- `notebook`: tables that notebooks show of specs, and of what is made of them
- `trial_inputs`: inputs that a module is tried out on: normal numbers, or examples of data
- `remedies`: what can be done about a module that is refused, in words
- `embeddings`: embeddings whose gradients are the loss's; numbers that are no rows of a table
- `recurrences`: recurrent layers by their equations, cell by cell
- `symmetry`: symmetries: from labels on the axes of parameters to orbits, random actions, and gauges
- `tracing`: a module's symmetries, found in its graph: labels carried through it, put together, and tried out
"""

from hyperframe.targets.params import Param, bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, Slice, TargetSpec
from hyperframe.targets.symmetry.orbits import Orbits
from hyperframe.targets.symmetry.propagate import propagate_factors
from hyperframe.targets.tracing.tracer import Traced
from hyperframe.targets.units import UnitSpec
from hyperframe.targets.weights import batch_size, concatenate, flatten, slice_weights, unflatten

__all__ = [
    "LayerSpec",
    "Orbits",
    "Param",
    "Slice",
    "TargetSpec",
    "Traced",
    "UnitSpec",
    "batch_size",
    "bias",
    "concatenate",
    "flatten",
    "kernel",
    "propagate_factors",
    "scale",
    "shift",
    "slice_weights",
    "unflatten",
]
