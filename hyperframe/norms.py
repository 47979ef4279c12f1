"""What normalisations do to labels: they take factors away, and their scale and shift write new ones."""

from typing import Any

import torch
from torch import Tensor

from hyperframe.discovery import FoundLayer, View
from hyperframe.labels import FIXED, ZERO, Activation, compact, varies
from hyperframe.reductions import common, note_groups
from hyperframe.rules import Operation, rule
from hyperframe.spec import Norm


@rule("_native_batch_norm_legit_no_training", "native_batch_norm", "_native_batch_norm_legit", "batch_norm")
def batch_norm(operation: Operation) -> Any:
    """A BatchNorm takes each channel's factor and offset away; its scale and shift write anew."""
    several = operation.name != "batch_norm"
    result = _by_channel(operation, operation.shape[0] if several else operation.shape)
    if result is None or not several:
        return result
    return (result, *(operation.found.opaque(shape) for shape in operation.shape[1:]))


@rule("instance_norm")
def instance_norm(operation: Operation) -> Activation | None:
    """As a BatchNorm, of each image by itself."""
    return _by_channel(operation, operation.shape)


def _by_channel(operation: Operation, shape: Any) -> Activation | None:
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    if not isinstance(x, Activation):
        return None
    operation.found.absorbing.add(operation.node)
    if any(isinstance(value, Tensor) for value in (scale, shift)):
        return _constant(operation, x, [scale, shift], shape)
    if not _are_views(scale, shift):
        return None
    unit, _, sign = operation.found.along(x, 1)
    return _affine(operation, scale, shift, "o", "batch", (unit, sign), shape, 1)


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
    # What is zero does not stay zero: the mean is taken away.
    common(torch.where(grouped.scale == ZERO, FIXED, grouped.scale), dims, found.scales)
    signs = common(torch.where(grouped.sign == ZERO, FIXED, grouped.sign), dims, found.signs)
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
    unit, _, sign = found.along(passed, channel)
    if view is None or len(unit) != view.shape[axes.split().index("o")]:
        return None
    return _affine(operation, scale, shift, axes, norm, (unit, sign), x.shape, channel)


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
    reads: tuple[Tensor, Tensor],
    shape: Any,
    channel: int,
) -> Activation:
    """What a normalisation's scale and shift make of normalised units and signs; a scale reads the sign and writes."""
    found, (unit, sign) = operation.found, reads
    size, dim = len(unit), axes.split().index("o")
    none = torch.full((size,), FIXED)
    sign = torch.where(sign == ZERO, FIXED, sign)
    written_scale = found.scales.new(size) if scale is not None else none
    written_sign = found.signs.new(size) if scale is not None else sign
    layer = _layer(operation, scale if scale is not None else shift, size, norm, channel)
    if layer is not None:
        for view, role in ((scale, "scale"), (shift, "shift")):
            if view is not None:
                found.claim(layer, "scale" if role == "scale" else "shift", view, axes)
                found.label(view, dim, 1, unit, written_scale, written_sign)
        if scale is not None:
            found.label(scale, dim, -1, unit, none, sign)
        layer.writes, layer.channel = unit, channel
        found.producers[operation.node] = layer
    return found.laid_out(shape, channel, unit, written_scale, written_sign)


def _layer(operation: Operation, view: View | None, size: int, norm: Norm, channel: int) -> FoundLayer | None:
    """The layer that a normalisation belongs to: the one directly before it, or one of its own."""
    earlier = operation.layer_before(0)
    if earlier is not None and earlier.channel != channel:
        earlier = None
    free = earlier is not None and earlier.filters == size and earlier.norm == "none"
    if earlier is not None and free and not {"scale", "shift"} & earlier.roles:
        earlier.norm = norm
        return earlier
    return None if view is None else FoundLayer(name=view.owner, filters=size, norm=norm)
