"""Rules of convolutions and dense layers: each claims its parameters for a layer and labels their axes."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import FIXED, Activation, Labels, compact, uniform, varies
from hyperframe.targets.tracing.rules.crossed import Crossed, cross, map_sets, merge_arguments, merge_sets
from hyperframe.targets.tracing.rules.products.contractions import contract
from hyperframe.targets.tracing.rules.reductions import common
from hyperframe.targets.tracing.rules.registry import Operation, lift, rule
from hyperframe.targets.tracing.state import Discovery

CONVOLUTIONS = {
    "conv1d": False,
    "conv2d": False,
    "conv3d": False,
    "conv_transpose1d": True,
    "conv_transpose2d": True,
    "conv_transpose3d": True,
}


@attrs.frozen
class _Kernel:
    """A kernel and a bias, as an operation uses them.

    Attributes:
        view: the kernel.
        bias: the bias, if any.
        axes: a letter for each of the kernel's axes, "o" for filters and "i" for what they read.
        groups: of the convolution.
    """

    view: View
    bias: View | None
    axes: str
    groups: int = 1

    @property
    def o(self) -> int:
        """The axis of the filters."""
        return self.axes.split().index("o")

    @property
    def i(self) -> int:
        """The axis of what the filters read."""
        return self.axes.split().index("i")

    @property
    def inputs_first(self) -> bool:
        """Whether what is read comes before the filters, as in a transposed convolution."""
        return self.i < self.o

    @property
    def filters(self) -> int:
        """The number of filters."""
        return self.view.shape[self.o] * (self.groups if self.inputs_first else 1)

    @property
    def whole(self) -> bool:
        """Whether all of each filter is there, with a bias that fits if any."""
        rows = self.view.rows is None or self.view.rows_dim == self.view.dims[self.o]
        return None not in self.view.dims and rows and (self.bias is None or tuple(self.bias.shape) == (self.filters,))


@rule(*CONVOLUTIONS)
def convolution(operation: Operation) -> Activation | Crossed | None:
    """A convolution: writes its filters and reads one label a channel; one group a channel moves both as one."""
    x, view, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    groups = int(operation.get(6, "groups", 1))
    if not _fit(x, view, bias) or len(x.shape) != len(view.shape) or (view.rows is not None and groups > 1):
        return None
    taps = " h w d"[: 2 * (len(view.shape) - 2)]
    kernel = _Kernel(view, bias, ("i o" if CONVOLUTIONS[operation.name] else "o i") + taps, groups)
    single = groups == 1 and all(size == 1 for size in view.shape[2:]) and operation.shape[2:] == x.shape[2:]
    if isinstance(x, Crossed) and not single:
        x = merge_arguments(operation).args[0]  # it mixes what stands along the other axes
    return _apply_kernel(operation, x, 1, kernel, along=single)


@rule("linear")
def dense(operation: Operation) -> Activation | Crossed | None:
    """A dense layer along the last axis."""
    x, view, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    if isinstance(view, View) and isinstance(x, Tensor):
        x = lift(operation.found, x)
    if not _fit(x, view, bias) or len(view.shape) != 2:
        return None
    return _apply_kernel(operation, x, len(x.shape) - 1, _Kernel(view, bias, "o i"), along=True)


@rule("matmul", "mm", "bmm", "addmm")
def product(operation: Operation) -> Activation | Crossed | None:
    """An activation times a matrix of parameters, or one of parameters times an activation, or two activations."""
    bias, one, other = operation.args[:3] if operation.name == "addmm" else (None, *operation.args[:2])
    if operation.kwargs:
        return None
    x: Any
    view: Any
    x, view = (_as_matrix(value) if isinstance(value, View) else value for value in (one, other))
    if _fit(x, view, bias) and len(view.shape) == 2:
        return _apply_kernel(operation, x, len(x.shape) - 1, _Kernel(view, bias, "i o"), along=True)
    if bias is None and _fit(view, x, None) and len(x.shape) == 2 and len(view.shape) == len(operation.shape):
        return _apply_kernel(operation, view, len(view.shape) - 2, _Kernel(x, None, "o i"), along=True)
    both = all(isinstance(value, Activation | Crossed | Tensor) and len(value.shape) > 1 for value in (x, view))
    return _multiply(operation, x, view) if both and bias is None else None


def _as_matrix(view: View) -> View:
    """Leave out the axes before the last two of a parameter that is the same along them."""
    first = len(view.shape) - 2
    if first < 1 or any(dim is not None for dim in view.dims[:first]):
        return view
    return attrs.evolve(view, shape=view.shape[first:], dims=view.dims[first:])


def _multiply(operation: Operation, one: Any, other: Any) -> Activation | Crossed:
    """Multiply activations as batches of matrices, the axes before the last two expanded to those of the result."""
    batch = operation.shape[:-2]
    one = map_sets(one, lambda labels: labels.expand(*batch, *labels.shape[-2:]))
    other = map_sets(other, lambda labels: labels.expand(*batch, *labels.shape[-2:]).mT)
    return contract(operation.found, one, other)


def _fit(x: Any, view: Any, bias: Any) -> bool:
    """Whether the arguments are an activation, and a kernel and a bias that are parameters."""
    return isinstance(x, Activation | Crossed) and isinstance(view, View) and isinstance(bias, View | None)


def _apply_kernel(
    operation: Operation, x: Activation | Crossed, dim: int, kernel: _Kernel, *, along: bool
) -> Activation | Crossed | None:
    """Apply a kernel along an axis of an activation; with `along` it mixes nothing that stands along other axes."""
    if not kernel.whole:
        return None
    found, filters, groups = operation.found, kernel.filters, kernel.groups
    x, passing = _split(found, x, dim) if along else (x, [])
    assert isinstance(x, Activation)
    read = _read(found, x, dim)
    depthwise = groups > 1 and groups == len(read.unit)
    written = _write(found, read, filters, groups if depthwise else None)
    layer = FoundLayer(name=kernel.view.owner, filters=filters, groups=groups)
    found.parameters.claim(layer, "kernel", kernel.view, kernel.axes)
    group = None
    if groups > 1 and not depthwise:
        group = torch.arange(groups).repeat_interleave(filters // groups)
        found.note_with(read.unit, torch.arange(groups).repeat_interleave(len(read.unit) // groups))
    _label_kernel(found, kernel, read, written, depthwise=depthwise)
    if kernel.bias is not None:
        found.parameters.claim(layer, "bias", kernel.bias, "o")
        found.parameters.label(kernel.bias, 0, 1, written)
    result = found.lay_out(operation.shape, dim, written, group)
    operation.note_layer(layer, written.unit, dim)
    if not passing:
        return result
    return cross(found, [*(_pass(operation, value, dim, kernel.bias) for value in passing), result])


def _read(found: Discovery, x: Activation, dim: int) -> Labels:
    """Find what a kernel reads: one number throughout, such as zeros that a recurrence begins with, is of any unit."""
    read = found.along(x, dim)
    if x.has_units or len(read.unit) == 1 or varies(x.code, dim):
        return read
    return attrs.evolve(read, unit=found.units.new(len(read.unit)))


def _write(found: Discovery, read: Labels, filters: int, channels: int | None) -> Labels:
    """Label filters: with units of their own, or in a depthwise kernel with those of the channels that they read."""
    if channels is not None:
        return found.new_labels(read.unit.repeat_interleave(filters // channels))
    # A single filter has no other to change places with.
    return found.new_labels(found.units.new(filters) if filters > 1 else uniform((1,)))


def _label_kernel(found: Discovery, kernel: _Kernel, read: Labels, written: Labels, *, depthwise: bool) -> None:
    """Label a kernel's two axes; in a grouped one the shorter of them holds a block of labels for each group."""
    blocks = (kernel.groups, 1) if kernel.inputs_first else (1, kernel.groups)
    found.parameters.label(kernel.view, kernel.o, 1, written, blocks[0], whole=depthwise)
    if depthwise and not kernel.inputs_first:
        each = kernel.filters // kernel.groups
        found.parameters.label(kernel.view, kernel.o, -1, read.map(lambda labels: labels.repeat_interleave(each)))
    else:
        found.parameters.label(kernel.view, kernel.i, -1, read, blocks[1])


def _split(found: Discovery, x: Activation | Crossed, dim: int) -> tuple[Activation, list[Activation]]:
    """Split units into those that a map along one axis reads, and those along others, which pass."""
    layers = x.layers if isinstance(x, Crossed) else (x,)
    passing = [layer for layer in layers if found.crosses(layer, dim)]
    read = [layer for layer in layers if layer not in passing]
    return merge_sets(found, read) if read else found.opaque(x.shape), passing


def _pass(operation: Operation, value: Activation, dim: int, bias: View | None) -> Activation:
    """Pass units along other axes through a map along this one: all that it mixes has one unit, factor and sign.

    A bias is the same for all units: they may still change places, but have no factors or signs of their own.
    """
    found, shape = operation.found, operation.shape
    found.note(value)
    inside = value.unit != FIXED
    unit = value.unit.gather(dim, inside.int().argmax(dim, keepdim=True))
    found.units.unite(torch.where(inside, value.unit, unit), unit)
    labels = Labels(unit, common(value.scale, [dim], found.scales), common(value.sign, [dim], found.signs))
    if bias is not None:
        labels = found.freeze_factors(labels)
    code = _row_codes(found, value.code, dim, shape[dim])
    result = Activation(labels.unit, labels.scale, labels.sign, code).map(lambda own: compact(own.expand(shape)))
    found.note(result)
    return result


def _row_codes(found: Discovery, code: Tensor, dim: int, filters: int) -> Tensor:
    """Make codes behind a map along an axis: one for each row of codes that occurs, and each filter."""
    for axis in range(code.dim()):
        if axis != dim and not varies(code, axis):
            code = code.narrow(axis, 0, 1)
    rows = code.movedim(dim, -1)
    distinct, places = torch.unique(rows.reshape(-1, rows.shape[-1]), dim=0, return_inverse=True)
    return found.new_codes([len(distinct), filters])[places].view(*rows.shape[:-1], filters).movedim(-1, dim)
