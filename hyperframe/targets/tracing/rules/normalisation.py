"""What normalisations do to labels: they take factors away, and their scale and shift write new ones."""

from typing import Any

import torch
from torch import Tensor

from hyperframe.targets.spec import Norm
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, Partition, compact, varies
from hyperframe.targets.tracing.rules.reductions import common, note_groups
from hyperframe.targets.tracing.rules.registry import Operation, rule

BATCH_NORMS = {
    "_native_batch_norm_legit_functional": 5,
    "_native_batch_norm_legit": 3,
    "native_batch_norm": 5,
    "batch_norm": 5,
    "_native_batch_norm_legit_no_training": None,
}
"""BatchNorms, and which argument says that the statistics are those of the batch; with None they never are."""


@rule(*BATCH_NORMS)
def batch_norm(operation: Operation) -> Any:
    """A BatchNorm takes each channel's factor and offset away; its scale and shift write anew."""
    several = operation.name != "batch_norm"
    place = BATCH_NORMS[operation.name]
    taken = place is not None and bool(operation.get(place, "training", False))
    result = _by_channel(operation, operation.shape[0] if several else operation.shape, taken)
    if result is None or not several:
        return result
    return (result, *(operation.found.opaque(shape) for shape in operation.shape[1:]))


@rule("instance_norm")
def instance_norm(operation: Operation) -> Activation | None:
    """As a BatchNorm, of each image by itself."""
    return _by_channel(operation, operation.shape, bool(operation.get(5, "use_input_stats", True)))


def _by_channel(operation: Operation, shape: Any, taken: bool) -> Activation | None:
    """A normalisation of each channel, by statistics that are taken of it, or by moments that are given."""
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    if not isinstance(x, Activation):
        return None
    if not taken:
        return _given(operation, x, scale, shift, shape)
    operation.found.absorbing.add(operation.node)
    if any(isinstance(value, Tensor) for value in (scale, shift)):
        return _constant(operation, x, [scale, shift], shape)
    if not _are_views(scale, shift):
        return None
    unit, _, sign = operation.found.along(x, 1)
    reads = unit, torch.full((len(unit),), FIXED), sign
    return _affine(operation, scale, shift, "o", "batch", reads, shape, 1)


def _given(operation: Operation, x: Activation, scale: Any, shift: Any, shape: Any) -> Activation | None:
    """By given moments: a number is taken away from each channel, and it is divided by another one."""
    found, mean, variance = operation.found, operation.get(3, "running_mean"), operation.get(4, "running_var")
    constants = [value for value in (mean, variance, scale, shift) if isinstance(value, Tensor)]
    if len(constants) + sum(isinstance(value, View | None) for value in (scale, shift)) != 4:
        return None
    unit, factor, sign = found.along(x, 1)
    for value in constants:
        found.note_with(unit, found.constant(value).code)
    for value in (mean, shift):
        if isinstance(value, Tensor):  # where it is not zero, it lets neither factor nor sign pass
            factor, sign = (
                _offset(labels, value, partition) for labels, partition in ((factor, found.scales), (sign, found.signs))
            )
    learnt = [value if isinstance(value, View) else None for value in (scale, shift)]
    return _affine(operation, learnt[0], learnt[1], "o", "none", (unit, factor, sign), shape, 1)


def _offset(labels: Tensor, values: Tensor, partition: Partition) -> Tensor:
    none = values != 0
    partition.freeze(torch.where(none, labels, FIXED))
    return torch.where(none, FIXED, labels)


def _constant(operation: Operation, x: Activation, affine: list[Any], shape: Any) -> Activation | None:
    """Scale and shift are not learnt: units with equal ones may change places, and have no factor or sign."""
    found = operation.found
    if any(isinstance(value, View | Activation) for value in affine):
        return None
    unit, _, sign = found.along(x, 1)
    if any(isinstance(value, Tensor) and value.shape != unit.shape for value in affine):
        return None
    found.signs.freeze(sign)
    for value in affine:
        if isinstance(value, Tensor):
            found.note_with(unit, found.constant(value).code)
    none = torch.full((len(unit),), FIXED)
    return found.laid_out(shape, 1, unit, none, none)


@rule("layer_norm", "group_norm", "rms_norm")
def group_normalised(operation: Operation) -> Activation | None:
    """LayerNorm, RMSNorm and GroupNorm take away one factor that all entries of a group have in common."""
    x, found = operation.args[0], operation.found
    scale, shift = operation.get(2, "weight"), operation.get(3, "bias") if operation.name != "rms_norm" else None
    if not isinstance(x, Activation) or not _are_views(scale, shift):
        return None
    norm: Norm = "group" if operation.name == "group_norm" else "layer"
    grouped, dims = _groups(operation, x)
    note_groups(found, grouped, dims)
    common(grouped.scale, dims, found.scales)
    signs = common(grouped.sign, dims, found.signs)
    none = torch.full((1,) * len(x.shape), FIXED).expand(x.shape)
    passed = Activation(x.unit, none, compact(signs.expand(grouped.shape).reshape(x.shape)), x.code)
    if scale is None and shift is None:
        found.note(passed)
        return passed
    view = scale if scale is not None else shift
    channel, axes = 1, "o"
    if norm == "layer":
        channel = next((dim for dim in dims if varies(x.unit, dim)), dims[-1])
        axes = " ".join("o" if dim == channel else "hwdtuv"[place] for place, dim in enumerate(dims))
    reads = found.along(passed, channel)
    if view is None or len(reads[0]) != view.shape[axes.split().index("o")]:
        return None
    return _affine(operation, scale, shift, axes, norm, reads, x.shape, channel)


def _groups(operation: Operation, x: Activation) -> tuple[Activation, list[int]]:
    """The labels with the entries of a group along some axes, and these axes."""
    rank = len(x.shape)
    if operation.name != "group_norm":
        return x, list(range(rank - len(operation.args[1]), rank))
    groups = int(operation.args[1])
    split = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return x.mapped(lambda labels: compact(labels.reshape(split))), list(range(2, rank + 1))


def _are_views(*values: Any) -> bool:
    return all(value is None or isinstance(value, View) for value in values)


def _affine(
    operation: Operation,
    scale: View | None,
    shift: View | None,
    axes: str,
    norm: Norm,
    reads: tuple[Tensor, Tensor, Tensor],
    shape: Any,
    channel: int,
) -> Activation:
    """Apply a normalisation's scale and shift to units, factors and signs; a scale reads them and writes others.

    No factor is left of what was normalised by statistics that were taken of it.
    """
    found, (unit, factor, sign) = operation.found, reads
    size, dim = len(unit), axes.split().index("o")
    if scale is None and shift is not None:  # where there is nothing to add to, the shift alone says what it has
        factor = torch.where(factor == ZERO, found.scales.new(size), factor)
        sign = torch.where(sign == ZERO, found.signs.new(size), sign)
    written_scale = found.scales.new(size) if scale is not None else factor
    written_sign = found.signs.new(size) if scale is not None else sign
    layer = _layer(operation, scale if scale is not None else shift, size, norm, channel)
    if layer is not None:
        for view, role in ((scale, "scale"), (shift, "shift")):
            if view is not None:
                found.claim(layer, "scale" if role == "scale" else "shift", view, axes)
                found.label(view, dim, 1, unit, written_scale, written_sign)
        if scale is not None:
            found.label(scale, dim, -1, unit, factor, sign)
        layer.writes, layer.channel = unit, channel
        found.producers[operation.node] = layer
    return found.laid_out(shape, channel, unit, written_scale, written_sign)


def _layer(operation: Operation, view: View | None, size: int, norm: Norm, channel: int) -> FoundLayer | None:
    """The layer that a normalisation belongs to: the one directly before it, or one of its own."""
    if view is None and norm == "none":
        return None  # numbers that are given, and nothing that is learnt
    earlier = operation.layer_before(0)
    if earlier is not None and earlier.channel != channel:
        earlier = None
    free = earlier is not None and earlier.filters == size and earlier.norm == "none"
    if earlier is not None and free and not {"scale", "shift"} & earlier.roles:
        earlier.norm = norm
        return earlier
    return None if view is None else FoundLayer(name=view.owner, filters=size, norm=norm)
