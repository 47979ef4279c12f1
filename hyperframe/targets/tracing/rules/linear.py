"""What convolutions and dense layers do to labels: each claims its parameters for a layer and labels their axes."""

import torch
from torch import Tensor

from hyperframe.targets.tracing.crossed import Crossed, crossed, merged, with_merged
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import FIXED, Activation, compact, varies
from hyperframe.targets.tracing.rules.reductions import common
from hyperframe.targets.tracing.rules.registry import Operation, rule
from hyperframe.targets.tracing.state import Discovery

CONVOLUTIONS = {
    "conv1d": False,
    "conv2d": False,
    "conv3d": False,
    "conv_transpose1d": True,
    "conv_transpose2d": True,
    "conv_transpose3d": True,
}


@rule(*CONVOLUTIONS)
def convolution(operation: Operation) -> Activation | Crossed | None:
    """A convolution: writes its filters and reads one label a channel; one group a channel moves both as one."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    transposed = CONVOLUTIONS[operation.name]
    groups = int(operation.get(6, "groups", 1))
    if (
        not isinstance(x, Activation | Crossed)
        or not isinstance(kernel, View)
        or (kernel.rows is not None and groups > 1)
    ):
        return None
    if (bias is not None and not isinstance(bias, View)) or len(x.shape) != len(kernel.shape):
        return None
    taps = "h w d"[: 2 * (len(kernel.shape) - 2)].strip()
    axes = f"i o {taps}" if transposed else f"o i {taps}"
    filters = kernel.shape[1] * groups if transposed else kernel.shape[0]
    single = groups == 1 and all(size == 1 for size in kernel.shape[2:]) and operation.shape[2:] == x.shape[2:]
    if isinstance(x, Crossed) and not single:
        x = with_merged(operation).args[0]  # it mixes what stands along the other axes
    return _kernel(operation, x, 1, kernel, bias, axes.strip(), filters, groups, along=single)


@rule("linear")
def dense(operation: Operation) -> Activation | Crossed | None:
    """A dense layer along the last axis."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    if not isinstance(x, Activation | Crossed) or not isinstance(kernel, View) or len(kernel.shape) != 2:
        return None
    if bias is not None and not isinstance(bias, View):
        return None
    return _kernel(operation, x, len(x.shape) - 1, kernel, bias, "o i", kernel.shape[0], 1, along=True)


@rule("matmul", "mm", "addmm")
def product(operation: Operation) -> Activation | Crossed | None:
    """An activation times a matrix of parameters; of two activations nothing is known."""
    args = operation.args[1:] if operation.name == "addmm" else operation.args
    bias = operation.args[0] if operation.name == "addmm" else None
    x, kernel = args[0], args[1]
    if not isinstance(x, Activation | Crossed) or not isinstance(kernel, View) or len(kernel.shape) != 2:
        return None
    if operation.kwargs or (bias is not None and not isinstance(bias, View)):
        return None
    return _kernel(operation, x, len(x.shape) - 1, kernel, bias, "i o", kernel.shape[1], 1, along=True)


def _kernel(
    operation: Operation,
    x: Activation | Crossed,
    dim: int,
    kernel: View,
    bias: View | None,
    axes: str,
    filters: int,
    groups: int,
    *,
    along: bool,
) -> Activation | Crossed | None:
    letters = axes.split()
    if None in kernel.dims or (kernel.rows is not None and kernel.rows_dim != kernel.dims[letters.index("o")]):
        return None  # where a part of what it reads with is used, filters are not whole
    if bias is not None and tuple(bias.shape) != (filters,):
        return None
    found = operation.found
    x, passing = _split(found, x, dim) if along else (x, [])
    assert isinstance(x, Activation)
    unit, scale, sign = found.along(x, dim)
    layer = FoundLayer(name=kernel.owner, filters=filters, groups=groups)
    inputs_first = letters.index("i") < letters.index("o")
    depthwise = groups > 1 and groups == len(unit)
    group = torch.arange(groups).repeat_interleave(filters // groups) if groups > 1 and not depthwise else None
    if depthwise:
        written = unit.repeat_interleave(filters // groups)
    else:  # what one filter alone writes has no other to change places with
        written = found.units.new(filters) if filters > 1 else torch.tensor([FIXED])
    written_scale, written_sign = found.scales.new(filters), found.signs.new(filters)
    found.claim(layer, "kernel", kernel, axes)
    if group is not None:
        found.note_with(unit, torch.arange(groups).repeat_interleave(len(unit) // groups))
    o, i = letters.index("o"), letters.index("i")
    # In a grouped kernel the shorter of the two axes holds a block of labels for each group.
    found.label(kernel, o, 1, written, written_scale, written_sign, groups if inputs_first else 1, whole=depthwise)
    if depthwise and not inputs_first:
        wide, wide_scale, wide_sign = (labels.repeat_interleave(filters // groups) for labels in (unit, scale, sign))
        found.label(kernel, o, -1, wide, wide_scale, wide_sign)
    else:
        found.label(kernel, i, -1, unit, scale, sign, 1 if inputs_first else groups)
    if bias is not None:
        found.claim(layer, "bias", bias, "o")
        found.label(bias, 0, 1, written, written_scale, written_sign)
    layer.writes, layer.channel = written, dim
    result = found.laid_out(operation.shape, dim, written, written_scale, written_sign, group)
    found.producers[operation.node] = layer
    if not passing:
        return result
    return crossed(found, [*(_passed(operation, value, dim, bias is not None) for value in passing), result])


def _split(found: Discovery, x: Activation | Crossed, dim: int) -> tuple[Activation, list[Activation]]:
    """Split units into those that a map along one axis reads, and those along others, which pass."""
    layers = x.layers if isinstance(x, Crossed) else (x,)
    passing = [layer for layer in layers if found.across(layer, dim)]
    read = [layer for layer in layers if layer not in passing]
    return merged(found, read) if read else found.opaque(x.shape), passing


def _passed(operation: Operation, value: Activation, dim: int, offset: bool) -> Activation:
    """Units along other axes, behind a map along this one: all that it mixes is of one unit, with one factor and sign.

    A bias is the same for all units: they may still change places, but have no factors or signs of their own.
    """
    found, shape = operation.found, operation.shape
    found.note(value)
    inside = value.unit != FIXED
    unit = value.unit.gather(dim, inside.int().argmax(dim, keepdim=True))
    found.units.unite(torch.where(inside, value.unit, unit), unit)
    scale, sign = common(value.scale, [dim], found.scales), common(value.sign, [dim], found.signs)
    if offset:
        found.scales.freeze(scale)
        found.signs.freeze(sign)
        scale, sign = torch.full_like(scale, FIXED), torch.full_like(sign, FIXED)
    code = _row_codes(found, value.code, dim, shape[dim])
    result = Activation(*(compact(labels.expand(shape)) for labels in (unit, scale, sign, code)))
    found.note(result)
    return result


def _row_codes(found: Discovery, code: Tensor, dim: int, filters: int) -> Tensor:
    """Codes behind a map along an axis: one for each row of codes that occurs, and each filter."""
    for axis in range(code.dim()):
        if axis != dim and not varies(code, axis):
            code = code.narrow(axis, 0, 1)
    rows = code.movedim(dim, -1)
    distinct, places = torch.unique(rows.reshape(-1, rows.shape[-1]), dim=0, return_inverse=True)
    return found.new_codes([len(distinct), filters])[places].view(*rows.shape[:-1], filters).movedim(-1, dim)
