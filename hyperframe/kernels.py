"""What operations with parameters do to labels: convolutions, dense layers, normalisations, learnt factors and offsets.

These are what layers are made of: each rule claims the parameters for a layer and labels their axes.
"""

import torch
from torch import Tensor

from hyperframe.discovery import FoundLayer, View
from hyperframe.labels import FIXED, ZERO, Activation, compact, varies
from hyperframe.params import Role
from hyperframe.rules import RULES, Operation, common, multiplied, note_groups, added, rule
from hyperframe.spec import Norm

CONVOLUTIONS = {
    "conv1d": False,
    "conv2d": False,
    "conv3d": False,
    "conv_transpose1d": True,
    "conv_transpose2d": True,
    "conv_transpose3d": True,
}


def _layer_name(view: View) -> str:
    module, _, own = view.name.rpartition(".")
    return module if own in ("weight", "bias") and module else view.name


def _new_layer(operation: Operation, view: View, filters: int, groups: int = 1) -> FoundLayer:
    return FoundLayer(name=_layer_name(view), filters=filters, groups=groups)


@rule(*CONVOLUTIONS)
def convolution(operation: Operation) -> Activation | None:
    """A convolution: writes its filters, reads one label a channel; with as many groups as channels both move as one."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    transposed = CONVOLUTIONS[operation.name]
    groups = int(operation.get(6, "groups", 1))
    if not isinstance(x, Activation) or not isinstance(kernel, View) or kernel.rows is not None:
        return None
    if None in kernel.dims or (bias is not None and not isinstance(bias, View)) or len(x.shape) != len(kernel.shape):
        return None
    taps = "h w d"[: 2 * (len(kernel.shape) - 2)].strip()
    axes = f"i o {taps}" if transposed else f"o i {taps}"
    filters = kernel.shape[1] * groups if transposed else kernel.shape[0]
    return _kernel(operation, x, 1, kernel, bias, axes.strip(), filters, groups)


@rule("linear")
def dense(operation: Operation) -> Activation | None:
    """A dense layer along the last axis."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    if not isinstance(x, Activation) or not isinstance(kernel, View) or len(kernel.shape) != 2:
        return None
    if bias is not None and not isinstance(bias, View):
        return None
    return _kernel(operation, x, len(x.shape) - 1, kernel, bias, "o i", kernel.shape[0], 1)


@rule("matmul", "mm", "addmm")
def product(operation: Operation) -> Activation | None:
    """An activation times a matrix of parameters; of two activations nothing is known."""
    args = operation.args[1:] if operation.name == "addmm" else operation.args
    bias = operation.args[0] if operation.name == "addmm" else None
    x, kernel = args[0], args[1]
    if not isinstance(x, Activation) or not isinstance(kernel, View) or len(kernel.shape) != 2:
        return None
    if operation.kwargs or (bias is not None and not isinstance(bias, View)):
        return None
    return _kernel(operation, x, len(x.shape) - 1, kernel, bias, "i o", kernel.shape[1], 1)


def _kernel(
    operation: Operation, x: Activation, dim: int, kernel: View, bias: View | None, axes: str, filters: int, groups: int
) -> Activation | None:
    letters = axes.split()
    if None in kernel.dims or (kernel.rows is not None and kernel.rows_dim != kernel.dims[letters.index("o")]):
        return None  # where a part of what it reads with is used, filters are not whole
    found = operation.found
    unit, scale, sign = found.along(x, dim)
    layer = _new_layer(operation, kernel, filters, groups)
    inputs_first = letters.index("i") < letters.index("o")
    depthwise = groups > 1 and groups == len(unit)
    group = torch.arange(groups).repeat_interleave(filters // groups) if groups > 1 and not depthwise else None
    written = unit.repeat_interleave(filters // groups) if depthwise else found.units.new(filters)
    written_scale, written_sign = found.scales.new(filters), found.signs.new(filters)
    if found.claim(layer, "kernel", kernel, axes):
        found.layers.append(layer)
    if group is not None:
        found.note_with(unit, torch.arange(groups).repeat_interleave(len(unit) // groups))
    o, i = letters.index("o"), letters.index("i")
    # In a grouped kernel the shorter of the two axes holds a block of labels for each group.
    found.label(kernel, o, 1, written, written_scale, written_sign, groups if inputs_first else 1)
    if depthwise and not inputs_first:
        wide = [labels.repeat_interleave(filters // groups) for labels in (unit, scale, sign)]
        found.label(kernel, o, -1, *wide)
    else:
        found.label(kernel, i, -1, unit, scale, sign, 1 if inputs_first else groups)
    if bias is not None:
        if found.claim(layer, "bias", bias, "o"):
            if layer not in found.layers:
                found.layers.append(layer)
        found.label(bias, 0, 1, written, written_scale, written_sign)
    layer.writes = written
    result = found.laid_out(operation.shape, dim, written, written_scale, written_sign, group)
    found.producers[operation.node] = layer
    return result


@rule("_native_batch_norm_legit_no_training", "native_batch_norm", "_native_batch_norm_legit", "batch_norm")
def batch_norm(operation: Operation) -> object:
    """A BatchNorm takes each channel's factor and offset away; its scale and shift write anew."""
    several = operation.name != "batch_norm"
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    result = _normalised(operation, x, scale, shift, 1, "batch", operation.shape[0] if several else operation.shape)
    if result is None or not several:
        return result
    return (result, *(operation.found.opaque(shape) for shape in operation.shape[1:]))


@rule("instance_norm")
def instance_norm(operation: Operation) -> object:
    """As a BatchNorm, of each image by itself."""
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    return _normalised(operation, x, scale, shift, 1, "batch", operation.shape)


def _normalised(
    operation: Operation, x: object, scale: object, shift: object, dim: int, norm: Norm, shape: object
) -> Activation | None:
    found = operation.found
    if not isinstance(x, Activation) or not all(value is None or isinstance(value, View) for value in (scale, shift)):
        return None
    unit, read_scale, read_sign = found.along(x, dim)
    # What is zero may become anything, as any offset may.
    read_sign = torch.where(read_sign == ZERO, FIXED, read_sign)
    size = len(unit)
    none = torch.full((size,), FIXED)
    written_scale = found.scales.new(size) if scale is not None else none
    written_sign = found.signs.new(size) if scale is not None else read_sign
    layer = _behind(operation, scale or shift, size, norm)
    _affine(operation, layer, scale, shift, "o", 0, unit, (none, read_sign), (written_scale, written_sign))
    return found.laid_out(shape, dim, unit, written_scale, written_sign)  # type: ignore[arg-type]


def _behind(operation: Operation, view: object, size: int, norm: Norm) -> FoundLayer | None:
    """The layer that a normalisation belongs to: the one directly before it, or one of its own."""
    found, source = operation.found, operation.sources[0]
    earlier = found.producers.get(source) if source in operation.single else None
    if earlier is not None and norm == "batch" and "kernel" in earlier.roles:
        earlier.shift_absorbed = "bias" in earlier.roles
    if earlier is not None and earlier.filters == size and not {"scale", "shift"} & earlier.roles:
        if earlier.norm == "none":
            earlier.norm = norm
            return earlier
    if not isinstance(view, View):
        return None
    layer = FoundLayer(name=_layer_name(view), filters=size, norm=norm)
    return layer


def _affine(
    operation: Operation,
    layer: FoundLayer | None,
    scale: object,
    shift: object,
    axes: str,
    dim: int,
    unit: Tensor,
    reads: tuple[Tensor, Tensor],
    writes: tuple[Tensor, Tensor],
) -> None:
    """Claim and label a scale, which reads and writes, and a shift, which only writes."""
    found = operation.found
    if layer is None:
        return
    for role, view in (("scale", scale), ("shift", shift)):
        if not isinstance(view, View):
            continue
        if found.claim(layer, role, view, axes) and layer not in found.layers:  # type: ignore[arg-type]
            found.layers.append(layer)
        found.label(view, dim, 1, unit, *writes)
        if role == "scale":
            found.label(view, dim, -1, unit, *reads)
    layer.writes = unit
    found.producers[operation.node] = layer


@rule("layer_norm", "group_norm")
def group_normalised(operation: Operation) -> Activation | None:
    """LayerNorm and GroupNorm take away one factor that all entries of a group have in common."""
    x, found = operation.args[0], operation.found
    if not isinstance(x, Activation):
        return None
    rank = len(x.shape)
    if operation.name == "layer_norm":
        dims = list(range(rank - len(operation.args[1]), rank))
        scale, shift = operation.get(2, "weight"), operation.get(3, "bias")
        grouped, norm = x, "layer"
    else:
        groups = int(operation.args[1])
        scale, shift = operation.get(2, "weight"), operation.get(3, "bias")
        split = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
        grouped = Activation(*(compact(field.reshape(split)) for field in (x.unit, x.scale, x.sign, x.code)))
        dims, norm = list(range(2, rank + 1)), "group"
    if not all(value is None or isinstance(value, View) for value in (scale, shift)):
        return None
    note_groups(found, grouped, dims)
    common(torch.where(grouped.scale == ZERO, FIXED, grouped.scale), dims, found.scales)
    signs = common(torch.where(grouped.sign == ZERO, FIXED, grouped.sign), dims, found.signs)
    signs = compact(signs.expand(grouped.shape).reshape(x.shape))
    passed = Activation(x.unit, torch.full((1,) * rank, FIXED).expand(x.shape), signs, x.code)
    channel = 1
    if operation.name == "layer_norm":
        varying = [dim for dim in dims if varies(x.unit, dim)]
        channel = varying[0] if len(varying) == 1 else dims[-1]
    if scale is None and shift is None:
        found.note(passed)
        return passed
    unit, _, read_sign = found.along(passed, channel)
    size = len(unit)
    none = torch.full((size,), FIXED)
    written_scale = found.scales.new(size) if scale is not None else none
    written_sign = found.signs.new(size) if scale is not None else read_sign
    if scale is None:
        found.signs.freeze(read_sign) if shift is None else None
    dim = channel - dims[0] if operation.name == "layer_norm" else 0
    view = scale if scale is not None else shift
    axes = " ".join("o" if axis == dim else "hwdtuv"[axis] for axis in range(len(view.shape)))
    layer = _behind(operation, view, size, norm)  # type: ignore[arg-type]
    _affine(operation, layer, scale, shift, axes, dim, unit, (none, read_sign), (written_scale, written_sign))
    return found.laid_out(x.shape, channel, unit, written_scale, written_sign)


@rule("prelu", "_prelu_kernel")
def prelu(operation: Operation) -> Activation | None:
    """A ReLU with learnt slopes, which move with their units."""
    x, slope, found = operation.args[0], operation.args[1], operation.found
    if not isinstance(x, Activation) or not isinstance(slope, View):
        return None
    sizes = [axis for axis, size in enumerate(slope.shape) if size > 1]
    if len(sizes) > 1:
        return None
    unit, scale, sign = found.along(x, 1)
    found.signs.freeze(sign)
    size = max(slope.shape)
    layer = FoundLayer(name=_layer_name(slope), filters=size)
    none = torch.full((size,), FIXED)
    at = sizes[0] if sizes else next((axis for axis, dim in enumerate(slope.dims) if dim is not None), 0)
    axes = " ".join("o" if axis == at else "xyzw"[axis] for axis in range(len(slope.shape)))
    if found.claim(layer, "scale", slope, axes):
        found.layers.append(layer)
    found.label(slope, at, 0, unit if size == len(unit) else none, none, none)
    return found.laid_out(operation.shape, 1, unit, scale, torch.where(sign == ZERO, ZERO, FIXED))


def learnt(operation: Operation) -> Activation | None:
    """An activation times a learnt factor, or plus a learnt offset, of its channels or of all entries alike."""
    if operation.name not in ("mul", "add", "sub") or operation.kwargs:
        return None
    one, other = operation.args[:2]
    x, view, source = (one, other, 0) if isinstance(one, Activation) else (other, one, 1)
    if not isinstance(x, Activation) or not isinstance(view, View) or (operation.name == "sub" and source):
        return None
    found, rank = operation.found, len(x.shape)
    if tuple(operation.shape) != tuple(x.shape) or None not in view.dims and not view.shape:
        pass
    if tuple(operation.shape) != tuple(x.shape):
        return None
    offset = rank - len(view.shape)
    wide = [axis for axis, size in enumerate(view.shape) if size > 1]
    varying = [axis for axis in wide if varies(x.unit, axis + offset)]
    role: Role = "scale" if operation.name == "mul" else "shift"
    if not wide:  # one number for all
        layer = FoundLayer(name=_layer_name(view), filters=1)
        at = next((axis for axis, dim in enumerate(view.dims) if dim is not None), None)
        if at is None:
            return None
        if found.claim(layer, role, view, " ".join("o" if axis == at else "xyzw"[axis] for axis in range(len(view.shape)))):
            found.layers.append(layer)
        if role == "shift":
            found.scales.freeze(x.scale)
            found.signs.freeze(x.sign)
        found.note(x)
        return x if role == "scale" else _plain(operation, x)
    if len(varying) > 1 or (not varying and any(varies(x.unit, axis) for axis in range(rank))):
        return None
    at = varying[0] if varying else wide[0]
    axes = " ".join("o" if axis == at else "xyzwvu"[axis] for axis in range(len(view.shape)))
    channel = at + offset
    unit, read_scale, read_sign = found.along(x, channel)
    size, earlier = len(unit), _earlier(operation, source, len(unit))
    none = torch.full((size,), FIXED)
    if role == "scale":
        written = found.scales.new(size), found.signs.new(size)
        merged = earlier is not None and not {"scale", "shift"} & earlier.roles and earlier.norm == "none"
    else:
        # Where there is nothing to add to, the offset alone says which factor it has.
        written = (
            torch.where(read_scale == ZERO, found.scales.new(size), read_scale),
            torch.where(read_sign == ZERO, found.signs.new(size), read_sign),
        )
        merged = earlier is not None and "shift" not in earlier.roles
        if merged and earlier is not None and earlier.roles == {"kernel"}:
            role = "bias"
    layer = earlier if merged and earlier is not None else FoundLayer(name=_layer_name(view), filters=size)
    if found.claim(layer, role, view, axes) and layer not in found.layers:
        found.layers.append(layer)
    found.label(view, at, 1, unit, *written)
    if role == "scale":
        reads = [torch.where(labels == ZERO, FIXED, labels) for labels in (read_scale, read_sign)]
        found.label(view, at, -1, unit, *reads)
    layer.writes = unit
    found.producers[operation.node] = layer
    return found.laid_out(operation.shape, channel, unit, *written)


def _plain(operation: Operation, x: Activation) -> Activation:
    none = torch.full((1,) * len(x.shape), FIXED).expand(x.shape)
    return Activation(x.unit, none, none, x.code)


def _earlier(operation: Operation, source: int, size: int) -> FoundLayer | None:
    """The layer whose result goes nowhere else than into this operation."""
    name = operation.sources[source]
    layer = operation.found.producers.get(name) if name in operation.single else None
    return layer if layer is not None and layer.filters == size else None


@rule("mul", "add", "sub")
def combined(operation: Operation) -> Activation | None:
    """A sum or product: of activations, or of one with a parameter."""
    if any(isinstance(value, View) for value in operation.args[:2]):
        return learnt(operation)
    return multiplied(operation) if operation.name == "mul" else added(operation)


assert RULES["mul"] is combined  # it takes the place of the rule for activations alone
