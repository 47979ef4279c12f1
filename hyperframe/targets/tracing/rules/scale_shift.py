"""Rules of learnt factors and offsets: of channels, of tables, or one for all."""

import attrs

from hyperframe.targets.params import Role
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import Activation, varies
from hyperframe.targets.tracing.rules.elementwise import add, homogeneous, multiply
from hyperframe.targets.tracing.rules.registry import Operation, rule
from hyperframe.targets.tracing.state import Discovery


@rule("mul", "add", "sub")
def add_or_multiply(operation: Operation) -> Activation | None:
    """A sum or product: of activations, or of one with a parameter."""
    if not any(isinstance(value, View) for value in operation.args[:2]):
        return multiply(operation) if operation.name == "mul" else add(operation)
    one, other = operation.args[:2]
    x, view, source = (one, other, 0) if isinstance(one, Activation) else (other, one, 1)
    if not isinstance(x, Activation) or not isinstance(view, View) or operation.kwargs:
        return None
    if tuple(operation.shape) != tuple(x.shape) or (operation.name == "sub" and source):
        return None  # the activation is repeated along a new axis, or taken away from the parameter
    return _by_channel(operation, x, view, source) if view.wide else _one_for_all(operation, x, view)


def _one_for_all(operation: Operation, x: Activation, view: View) -> Activation | None:
    """A single learnt number: as a factor it lets everything pass, as an offset no factors and signs."""
    at = next((axis for axis, dim in enumerate(view.dims) if dim is not None), None)
    if at is None:
        return None
    found, role = operation.found, _role_of(operation, view, None)
    found.parameters.claim(FoundLayer(name=view.owner, filters=1), role, view, view.letters(at))
    if role == "shift":
        x = found.freeze_factors(x)
    found.note(x)
    return x


def _by_channel(operation: Operation, x: Activation, view: View, source: int) -> Activation | None:
    """A factor reads and writes; an offset has the factor and sign of the sum. Behind a kernel they belong to it."""
    found, at = operation.found, _axis_of_units(operation.found, x, view)
    if at is None:
        return None
    dim = at + len(x.shape) - len(view.shape)
    read = found.along(x, dim)
    written = found.new_labels(read.unit) if operation.name == "mul" else found.replace_zeros(read)
    layer = operation.layer_before(source)
    if layer is not None and (layer.filters, layer.channel) != (len(read.unit), dim):
        layer = None
    role = _role_of(operation, view, layer)
    if layer is None or not _takes(layer, role):
        layer = FoundLayer(name=view.owner, filters=len(read.unit))
    found.parameters.claim(layer, role, view, view.letters(at))
    found.parameters.label(view, at, 1, written)
    if role == "scale":
        found.parameters.label(view, at, -1, read)
    operation.note_layer(layer, read.unit, dim)
    return found.lay_out(operation.shape, dim, written)


def _axis_of_units(found: Discovery, x: Activation, view: View) -> int | None:
    """Find the axis of a parameter that goes along an activation's units; None where there is not one such axis."""
    offset, along = len(x.shape) - len(view.shape), found.unit_axes(x)
    varying = [axis for axis in view.wide if axis + offset in along]
    if len(varying) > 1 or (not varying and any(varies(x.unit, axis) for axis in range(len(x.shape)))):
        return None
    at = varying[0] if varying else view.wide[0]
    return None if view.rows is not None and view.dims[at] != view.rows_dim else at


def _role_of(operation: Operation, view: View, layer: FoundLayer | None) -> Role:
    """Return the role of a factor or an offset behind a layer: it is the layer's bias where a kernel is all it has."""
    if operation.name == "mul":
        return "scale"
    plain = layer is not None and layer.roles == {"kernel"} and layer.norm == "none"
    return "bias" if plain and len(view.wide) == 1 else "shift"


def _takes(layer: FoundLayer, role: Role) -> bool:
    """Whether a layer can take a factor or an offset behind it: it has none yet, nor one that would come later."""
    if role == "scale":
        return layer.norm == "none" and not {"scale", "shift"} & layer.roles
    return role not in layer.roles


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
    found.parameters.claim(FoundLayer(name=slope.owner, filters=size), "scale", slope, slope.letters(at))
    if size == 1:
        same: Activation | None = homogeneous(attrs.evolve(operation, args=(x,)))
        return same
    labels = found.freeze_signs(found.along(x, 1))
    found.parameters.label(slope, at, 0, labels.without_factors())
    return found.lay_out(operation.shape, 1, labels)
