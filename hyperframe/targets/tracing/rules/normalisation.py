"""Rules of normalisations: they take factors away, and their scale and shift write new ones."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.spec import Norm
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import FIXED, Activation, Labels, compact, uniform, varies
from hyperframe.targets.tracing.rules.reductions import common, note_groups
from hyperframe.targets.tracing.rules.registry import Operation, rule
from hyperframe.targets.tracing.state import Discovery

BATCH_NORMS = {
    "_native_batch_norm_legit_functional": 5,
    "_native_batch_norm_legit": 3,
    "native_batch_norm": 5,
    "batch_norm": 5,
    "_native_batch_norm_legit_no_training": None,
}
"""BatchNorms, and which argument says that the statistics are those of the batch; with None they never are."""


@attrs.frozen
class _Affine:
    """A normalisation's learnt scale and shift, where it has them.

    Attributes:
        scale, shift: the parameters.
        norm: the normalisation that they belong to; "none" where it is by given moments.
        axes: a letter for each of their axes.
        channel: the activation's axis that goes with their axis "o".
    """

    scale: View | None
    shift: View | None
    norm: Norm
    axes: str = "o"
    channel: int = 1

    @property
    def dim(self) -> int:
        """The parameters' axis of the channels."""
        return self.axes.split().index("o")


@rule(*BATCH_NORMS)
def batch_norm(operation: Operation) -> Any:
    """A BatchNorm takes each channel's factor and offset away; its scale and shift write anew."""
    place = BATCH_NORMS[operation.name]
    result = _by_channel(operation, place is not None and bool(operation.get(place, "training", False)))
    if result is None or not operation.several:
        return result
    return (result, *(operation.found.opaque(shape) for shape in operation.shape[1:]))


@rule("instance_norm")
def instance_norm(operation: Operation) -> Activation | None:
    """As a BatchNorm, of each image by itself."""
    return _by_channel(operation, bool(operation.get(5, "use_input_stats", True)))


def _by_channel(operation: Operation, taken: bool) -> Activation | None:
    """A normalisation of each channel, by statistics that are taken of it, or by moments that are given."""
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    if not isinstance(x, Activation):
        return None
    if not taken:
        return _by_given_moments(operation, x, scale, shift)
    operation.found.absorbing.add(operation.node)
    if any(isinstance(value, Tensor) for value in (scale, shift)):
        return _with_constants(operation, x, [scale, shift])
    if not _are_views(scale, shift):
        return None
    read = operation.found.along(x, 1)
    read = attrs.evolve(read, scale=uniform(read.shape))
    return _apply_affine(operation, _Affine(scale, shift, "batch"), read)


def _by_given_moments(operation: Operation, x: Activation, scale: Any, shift: Any) -> Activation | None:
    """By given moments: a number is taken away from each channel, and it is divided by another one."""
    found, mean, variance = operation.found, operation.get(3, "running_mean"), operation.get(4, "running_var")
    constants = [value for value in (mean, variance, scale, shift) if isinstance(value, Tensor)]
    if len(constants) + sum(isinstance(value, View | None) for value in (scale, shift)) != 4:
        return None
    labels = found.along(x, 1)
    for value in constants:
        found.note_with(labels.unit, found.constant(value).code)
    for value in (mean, shift):
        if isinstance(value, Tensor):
            labels = _add_constants(found, labels, value)
    scale, shift = (value if isinstance(value, View) else None for value in (scale, shift))
    return _apply_affine(operation, _Affine(scale, shift, "none"), labels)


def _add_constants(found: Discovery, labels: Labels, values: Tensor) -> Labels:
    """Add a number to each channel: where it is not zero, it lets neither factor nor sign pass."""
    stopped = values != 0
    for name, partition in found.factors.items():
        own = getattr(labels, name)
        partition.freeze(torch.where(stopped, own, FIXED))
        labels = attrs.evolve(labels, **{name: torch.where(stopped, FIXED, own)})
    return labels


def _with_constants(operation: Operation, x: Activation, affine: list[Any]) -> Activation | None:
    """Scale and shift are not learnt: units with equal ones may change places, and have no factor or sign."""
    found = operation.found
    if any(isinstance(value, View | Activation) for value in affine):
        return None
    labels = found.along(x, 1)
    if any(isinstance(value, Tensor) and value.shape != labels.shape for value in affine):
        return None
    found.signs.freeze(labels.sign)
    for value in affine:
        if isinstance(value, Tensor):
            found.note_with(labels.unit, found.constant(value).code)
    return found.lay_out(operation.first_shape, 1, labels.without_factors())


@rule("layer_norm", "group_norm", "rms_norm")
def group_norm(operation: Operation) -> Activation | None:
    """LayerNorm, RMSNorm and GroupNorm take away one factor that all entries of a group have in common."""
    x, found = operation.args[0], operation.found
    scale, shift = operation.get(2, "weight"), operation.get(3, "bias") if operation.name != "rms_norm" else None
    if not isinstance(x, Activation) or not _are_views(scale, shift):
        return None
    grouped, dims = _groups(operation, x)
    note_groups(found, grouped, dims)
    common(grouped.scale, dims, found.scales)
    signs = common(grouped.sign, dims, found.signs)
    sign = compact(signs.expand(grouped.shape).reshape(x.shape))
    passed = attrs.evolve(x, scale=uniform(x.shape), sign=sign)
    view = scale if scale is not None else shift
    if view is None:
        found.note(passed)
        return passed
    affine = _Affine(scale, shift, "group")
    if operation.name != "group_norm":
        channel = next((dim for dim in dims if varies(x.unit, dim)), dims[-1])
        axes = " ".join("o" if dim == channel else "hwdtuv"[place] for place, dim in enumerate(dims))
        affine = _Affine(scale, shift, "layer", axes, channel)
    read = found.along(passed, affine.channel)
    return _apply_affine(operation, affine, read) if len(read.unit) == view.shape[affine.dim] else None


def _groups(operation: Operation, x: Activation) -> tuple[Activation, list[int]]:
    """Lay labels out with the entries of a group along some axes; return them and these axes."""
    rank = len(x.shape)
    if operation.name != "group_norm":
        return x, list(range(rank - len(operation.args[1]), rank))
    groups = int(operation.args[1])
    split = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return x.map(lambda labels: compact(labels.reshape(split))), list(range(2, rank + 1))


def _are_views(*values: Any) -> bool:
    return all(value is None or isinstance(value, View) for value in values)


def _apply_affine(operation: Operation, affine: _Affine, read: Labels) -> Activation:
    """Apply a normalisation's scale and shift to what it makes of channels; a scale reads factors and writes others.

    No factor is left of what was normalised by statistics that were taken of it.
    """
    found, scale, shift = operation.found, affine.scale, affine.shift
    if scale is None and shift is not None:
        read = found.replace_zeros(read)
    written = found.new_labels(read.unit) if scale is not None else read
    layer = _layer(operation, affine, len(read.unit))
    if layer is not None:
        if scale is not None:
            found.parameters.claim(layer, "scale", scale, affine.axes)
            found.parameters.label(scale, affine.dim, 1, written)
        if shift is not None:
            found.parameters.claim(layer, "shift", shift, affine.axes)
            found.parameters.label(shift, affine.dim, 1, written)
        if scale is not None:
            found.parameters.label(scale, affine.dim, -1, read)
        operation.note_layer(layer, read.unit, affine.channel)
    return found.lay_out(operation.first_shape, affine.channel, written)


def _layer(operation: Operation, affine: _Affine, size: int) -> FoundLayer | None:
    """Find the layer that a normalisation belongs to: the one directly before it, or one of its own."""
    view = affine.scale if affine.scale is not None else affine.shift
    if view is None and affine.norm == "none":
        return None  # numbers that are given, and nothing that is learnt
    earlier = operation.layer_before(0)
    if (
        earlier is not None
        and (earlier.channel, earlier.filters, earlier.norm) == (affine.channel, size, "none")
        and not {"scale", "shift"} & earlier.roles
    ):
        earlier.norm = affine.norm
        return earlier
    return None if view is None else FoundLayer(name=view.owner, filters=size, norm=affine.norm)
