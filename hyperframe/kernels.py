"""What convolutions and dense layers do to labels: each claims its parameters for a layer and labels their axes."""

import torch

from hyperframe.discovery import FoundLayer, View
from hyperframe.labels import Activation
from hyperframe.rules import Operation, rule

CONVOLUTIONS = {
    "conv1d": False,
    "conv2d": False,
    "conv3d": False,
    "conv_transpose1d": True,
    "conv_transpose2d": True,
    "conv_transpose3d": True,
}


@rule(*CONVOLUTIONS)
def convolution(operation: Operation) -> Activation | None:
    """A convolution: writes its filters and reads one label a channel; one group a channel moves both as one."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    transposed = CONVOLUTIONS[operation.name]
    groups = int(operation.get(6, "groups", 1))
    if not isinstance(x, Activation) or not isinstance(kernel, View) or (kernel.rows is not None and groups > 1):
        return None
    if (bias is not None and not isinstance(bias, View)) or len(x.shape) != len(kernel.shape):
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
    if bias is not None and tuple(bias.shape) != (filters,):
        return None
    found = operation.found
    unit, scale, sign = found.along(x, dim)
    layer = FoundLayer(name=kernel.owner, filters=filters, groups=groups)
    inputs_first = letters.index("i") < letters.index("o")
    depthwise = groups > 1 and groups == len(unit)
    group = torch.arange(groups).repeat_interleave(filters // groups) if groups > 1 and not depthwise else None
    written = unit.repeat_interleave(filters // groups) if depthwise else found.units.new(filters)
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
    return result
