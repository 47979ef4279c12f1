"""What learnt factors and offsets do to labels: of channels, of tables, or one for all."""

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Role
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, varies
from hyperframe.targets.tracing.rules.elementwise import added, homogeneous, multiplied
from hyperframe.targets.tracing.rules.registry import Operation, rule


@rule("mul", "add", "sub")
def combined(operation: Operation) -> Activation | None:
    """A sum or product: of activations, or of one with a parameter."""
    if not any(isinstance(value, View) for value in operation.args[:2]):
        return multiplied(operation) if operation.name == "mul" else added(operation)
    one, other = operation.args[:2]
    x, view, source = (one, other, 0) if isinstance(one, Activation) else (other, one, 1)
    if not isinstance(x, Activation) or not isinstance(view, View) or operation.kwargs:
        return None
    if tuple(operation.shape) != tuple(x.shape) or (operation.name == "sub" and source):
        return None  # the activation is repeated along a new axis, or taken away from the parameter
    if not view.wide:
        return _one_for_all(operation, x, view)
    return _of_channels(operation, x, view, source)


def _one_for_all(operation: Operation, x: Activation, view: View) -> Activation | None:
    """A single learnt number: as a factor it lets everything pass, as an offset no factors and signs."""
    at = next((axis for axis, dim in enumerate(view.dims) if dim is not None), None)
    if at is None:
        return None
    found, factor = operation.found, operation.name == "mul"
    found.claim(FoundLayer(name=view.owner, filters=1), "scale" if factor else "shift", view, view.letters(at))
    if not factor:
        found.scales.freeze(x.scale)
        found.signs.freeze(x.sign)
        none = torch.full((1,) * len(x.shape), FIXED).expand(x.shape)
        x = Activation(x.unit, none, none, x.code)
    found.note(x)
    return x


def _of_channels(operation: Operation, x: Activation, view: View, source: int) -> Activation | None:
    """A factor reads and writes; an offset shares the factor and sign of what it is added to.

    Behind a kernel they belong to its layer.
    """
    found, rank = operation.found, len(x.shape)
    offset = rank - len(view.shape)
    wide, along = view.wide, found.unit_axes(x)
    varying = [axis for axis in wide if axis + offset in along]
    if len(varying) > 1 or (not varying and any(varies(x.unit, axis) for axis in range(rank))):
        return None
    at = varying[0] if varying else wide[0]
    if view.rows is not None and view.dims[at] != view.rows_dim:
        return None
    unit, scale, sign = found.along(x, at + offset)
    earlier = operation.layer_before(source)
    if earlier is not None and (earlier.filters != len(unit) or earlier.channel != at + offset):
        earlier = None
    if operation.name == "mul":
        reads = [scale, sign]
        scale, sign = found.scales.new(len(unit)), found.signs.new(len(unit))
        role: Role = "scale"
        if earlier is not None and (earlier.norm != "none" or {"scale", "shift"} & earlier.roles):
            earlier = None
    else:
        reads = []
        # Where there is nothing to add to, the offset alone says which factor it has.
        scale = torch.where(scale == ZERO, found.scales.new(len(unit)), scale)
        sign = torch.where(sign == ZERO, found.signs.new(len(unit)), sign)
        plain = earlier is not None and earlier.roles == {"kernel"} and earlier.norm == "none"
        role = "bias" if plain and len(wide) == 1 else "shift"
        if earlier is not None and role in earlier.roles:
            earlier = None
    layer = earlier if earlier is not None else FoundLayer(name=view.owner, filters=len(unit))
    _claimed(operation, layer, role, view, at, unit, reads, (scale, sign), at + offset)
    return found.laid_out(operation.shape, at + offset, unit, scale, sign)


def _claimed(
    operation: Operation,
    layer: FoundLayer,
    role: Role,
    view: View,
    at: int,
    unit: Tensor,
    reads: list[Tensor],
    writes: tuple[Tensor, Tensor],
    channel: int,
) -> None:
    found = operation.found
    found.claim(layer, role, view, view.letters(at))
    found.label(view, at, 1, unit, *writes)
    if reads:
        found.label(view, at, -1, unit, reads[0], reads[1])
    layer.writes, layer.channel = unit, channel
    found.producers[operation.node] = layer


@rule("prelu", "_prelu_kernel")
def prelu(operation: Operation) -> Activation | None:
    """A ReLU with learnt slopes, which move with their units."""
    x, slope, found = operation.args[0], operation.args[1], operation.found
    if not isinstance(x, Activation) or not isinstance(slope, View):
        return None
    wide = [axis for axis, size in enumerate(slope.shape) if size > 1]
    at = wide[0] if wide else next((axis for axis, dim in enumerate(slope.dims) if dim is not None), None)
    if len(wide) > 1 or at is None:
        return None
    size = slope.shape[at]
    found.claim(FoundLayer(name=slope.owner, filters=size), "scale", slope, slope.letters(at))
    if size == 1:
        same: Activation | None = homogeneous(attrs.evolve(operation, args=(x,)))
        return same
    unit, scale, sign = found.along(x, 1)
    found.signs.freeze(sign)
    none = torch.full((size,), FIXED)
    found.label(slope, at, 0, unit, none, none)
    return found.laid_out(operation.shape, 1, unit, scale, torch.where(sign == ZERO, ZERO, FIXED))
