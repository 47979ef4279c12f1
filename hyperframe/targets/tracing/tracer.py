"""Any convolutional or dense module, traced: its layers, its filters and its symmetries.

The module is exported to a graph of operations, and labels are carried through the graph
(`hyperframe.targets.tracing.walk`). What is found is tried out, and frozen where it does not hold: fewer symmetries,
never wrong ones.
"""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import attrs
from torch import Tensor, nn

from hyperframe.errors import SpecError
from hyperframe.options import shown
from hyperframe.runtime.modes import with_gradients
from hyperframe.runtime.progress import quantity
from hyperframe.targets.notebook import outputs_in_words
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.exact import as_evaluated
from hyperframe.targets.symmetry.structure import Structure
from hyperframe.targets.tracing.assemble import assemble
from hyperframe.targets.tracing.export import (
    alone,
    check_parameters,
    choose_inputs,
    example_inputs,
    export,
    output_shape,
    prepare,
)
from hyperframe.targets.tracing.findings import Frozen
from hyperframe.targets.tracing.shifts import find_absorbed_shifts
from hyperframe.targets.tracing.state import Discovery
from hyperframe.targets.tracing.verify import verify
from hyperframe.targets.tracing.walk import Walk
from hyperframe.targets.trial_inputs import TrialInputs


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Traced:
    """A module with the layers and symmetries that tracing found.

    Attributes:
        module: what was traced.
        spec: layers and filters.
        structure: labels on the axes of their parameters.
        frozen: what has no symmetries although it might, and why.
        unused: parameters on which no output depends; no layer has them.
        tried_on: what it was tried on.
    """

    module: nn.Module
    spec: TargetSpec
    structure: Structure
    frozen: tuple[Frozen, ...]
    unused: tuple[str, ...]
    tried_on: TrialInputs

    def __repr__(self) -> str:
        spec = self.spec
        head = f"Traced target {spec.name}: {spec.num_weights:,} weights, inputs {list(spec.input_shape)}"
        lines = [f"{head}, {outputs_in_words(*spec.output_shape)}"]
        lines += [
            f"  layer {layer.name}: {quantity(layer.filters, 'filter')} of {layer.filter_size:,}"
            for layer in spec.layers
        ]
        sizes = ", ".join(f"{len(labels):,}" for labels in self.structure.classes)
        lines += [f"  exchangeable units, in groups of: {sizes}"] if sizes else []
        lines += [f"  frozen: {entry.op} in {entry.place or 'the network'}: {entry.why}" for entry in self.frozen]
        lines += [f"  unused: {name}" for name in self.unused]
        return "\n".join(lines)


@with_gradients
def trace(
    module: nn.Module, input_shape: Sequence[int] | None = None, name: str = "module", *, example: Tensor | None = None
) -> Traced:
    """Find a module's layers, filters and symmetries.

    Args:
        module: an ordinary module, whose forward takes [examples, *input_shape] and gives [examples, outputs], or
            [examples, outputs, *places] with outputs for each place, such as pixels. It is not changed.
        input_shape: shape of one input; left out, it is that of the example.
        name: of the target.
        example: some inputs [examples, *input_shape], on which it is traced and tried in place of normal numbers. A
            module with an embedding needs them. Whole numbers are given to it as such where it takes them.

    Raises:
        SpecError: the module does not run on such inputs, gives something else than one such tensor, decides by the
            values that it computes, or has parameters that are not floating-point numbers.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> traced = trace(net, [4])
        >>> [(layer.name, layer.filters, layer.filter_size) for layer in traced.spec.layers]
        [('0', 3, 5), ('2', 2, 4)]
        >>> traced.structure.classes                      # the three hidden units may change places
        ((0, 1, 2),)
        >>> words = nn.Sequential(nn.EmbeddingBag(20, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> trace(words, example=torch.arange(40).view(8, 5) % 20).structure.classes
        ((0, 1, 2),)
    """
    where = f"target '{name}'"
    if not isinstance(module, nn.Module):
        raise SpecError(f"{where}: expected an nn.Module, but got {shown(module)}")
    if input_shape is not None and not _is_shape(input_shape):
        raise SpecError(f"{where}: expected the shape of one input, such as [3, 32, 32], but got {shown(input_shape)}")
    if example is None and input_shape is None:
        raise SpecError(f"{where}: hand over the shape of one input, or some inputs as example=…")
    if example is not None and not (isinstance(example, Tensor) and example.dim() > 1 and len(example)):
        found = list(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise SpecError(f"{where}: its example must be a tensor [examples, …], one example or more, but is {found}")
    shape = tuple(example.shape[1:] if input_shape is None and example is not None else input_shape or ())
    if example is not None and tuple(example.shape[1:]) != shape:
        raise SpecError(f"{where}: inputs have the shape {list(shape)}, but the example's {list(example.shape[1:])}")
    with alone():
        check_parameters(module, where)
        copied = prepare(module, where)
        inputs = TrialInputs(shape) if example is None else example_inputs(copied, example, where)
        return _trace(module, copied, inputs, output_shape(copied, inputs, where), name)


def _is_shape(given: Any) -> bool:
    """Whether sizes of axes were given."""
    return (
        isinstance(given, Sequence)
        and not isinstance(given, str)
        and all(isinstance(size, Integral) and int(size) >= 0 for size in given)
    )


@with_gradients
def trace_for(module: nn.Module, input_shape: tuple[int, ...], data: Callable[[], Tensor] | None, name: str) -> Traced:
    """Find a module's layers, filters and symmetries, tried on data where it needs them, see `choose_inputs`.

    Args:
        module: as for `trace`.
        input_shape: shape of one input.
        data: gives inputs [examples, *input_shape]; called only where they are needed.
        name: of the target.
    """
    where = f"target '{name}'"
    with alone():
        check_parameters(module, where)
        copied = prepare(module, where)
        return _trace(module, copied, *choose_inputs(copied, input_shape, data, where), name)


def _trace(original: nn.Module, module: nn.Module, inputs: TrialInputs, outputs: tuple[int, ...], name: str) -> Traced:
    where = f"target '{name}'"
    collecting = as_evaluated(module).values()
    for norm in collecting:
        norm.track_running_stats = False  # the graph need not update moments, which nothing uses
    program = export(module, inputs, where)
    for norm in collecting:
        norm.track_running_stats = True
    found = Discovery()
    walk = Walk(found, module, program, where)
    if not walk.depends_on_input:
        raise SpecError(f"{where}: its outputs do not depend on its inputs")
    result = walk.go()
    used = {view.name for view in walk.views.values()}
    trainable = [key for key, value in module.named_parameters() if value.requires_grad]
    unused = tuple(key for key in trainable if key not in used)
    found.parameters.add_unclaimed(walk.views.values())
    if not found.parameters.layers:
        raise SpecError(f"{where}: its outputs depend on no trainable parameter")
    logits = walk.logits(result)
    found.freeze(result)
    find_absorbed_shifts(walk.graph, found)
    structure = assemble(found, module, name=name, input_shape=inputs.shape, outputs=outputs, logits=logits)
    structure, failed = verify(module, structure, inputs)
    return Traced(
        module=original,
        spec=structure.spec,
        structure=structure,
        frozen=(*found.frozen, *failed),
        unused=unused,
        tried_on=inputs,
    )
