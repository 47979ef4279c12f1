"""What operations that only move entries do to labels: the same."""

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.findings import View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, compact, varies
from hyperframe.targets.tracing.rules.registry import Operation, flat, lifted, rule

LAYOUTS = (
    "view",
    "_unsafe_view",
    "reshape",
    "permute",
    "transpose",
    "t",
    "unsqueeze",
    "squeeze",
    "expand",
    "clone",
    "contiguous",
    "alias",
    "detach",
    "select",
    "slice",
    "index_select",
    "index",
    "roll",
    "flip",
    "flatten",
    "unflatten",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "repeat",
    "narrow",
    "movedim",
    "split",
    "split_with_sizes",
    "chunk",
    "unbind",
    "cat",
    "stack",
    "pad",
    "constant_pad_nd",
    "swapaxes",
    "numpy_T",
    "mT",
    "diagonal",
    "unfold",
    "lift_fresh_copy",
    "expand_as",
    "view_as",
    "reshape_as",
    "tile",
    "repeat_interleave",
    "rot90",
    "slice_scatter",
    "select_scatter",
)
SHAPES = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
SEVERAL = {"slice_scatter": 2, "select_scatter": 2}  # how many arguments are laid out; one, or a list, for all others


@rule(*LAYOUTS)
def layout(operation: Operation) -> Any:
    """An operation that only moves entries does to their labels what it does to them."""
    first = operation.args[0]
    if isinstance(first, View):
        return _view_of(operation, first)
    if isinstance(operation.get(1, "dtype"), torch.dtype):
        return None  # bits that are read as another type
    taken = SEVERAL.get(operation.name, 1)
    if any(isinstance(value, Activation | View) for value in flat([operation.args[taken:], operation.kwargs.values()])):
        return None  # where entries go is computed
    if operation.name == "cat":
        operation = attrs.evolve(operation, args=(_with_tables(operation), *operation.args[1:]))
    if any(isinstance(value, View) for value in flat(operation.args[:taken])):
        return None  # a parameter among others is a value that is computed
    data = [lifted(operation.found, value) for value in operation.args[:taken]]
    if operation.name == "cat" and all(isinstance(value, Activation) for value in data[0]):
        return _cat(operation, data[0])
    fields = []
    for name, padding in (("unit", FIXED), ("scale", ZERO), ("sign", ZERO), ("code", None)):
        chosen = [_pick(value, name) for value in data]
        fields.append(_moved(operation, chosen, operation.args[taken:], padding))
    if isinstance(fields[0], Tensor):
        return Activation(*(compact(field) for field in fields))
    return tuple(Activation(*(compact(field) for field in part)) for part in zip(*fields, strict=True))


@rule("copy", "fill", "zero", *SHAPES)
def filled(operation: Operation) -> Any:
    """Entries that are given, or known numbers, in the shape of another activation."""
    if operation.name == "copy":
        source = operation.args[1]
        if not isinstance(source, Activation | Tensor):
            return None
        laid: Activation = lifted(operation.found, source)
        return laid.mapped(lambda labels: labels.expand(operation.shape))
    if any(isinstance(value, Activation | View) for value in flat(operation.args[1:])):
        return None
    shape, rest = operation.args[0].shape, [*operation.args[1:], *operation.kwargs.values()]
    kind = torch.complex64 if any(isinstance(value, complex) for value in rest) else torch.float32
    return operation.function(torch.zeros(shape, dtype=kind), *operation.args[1:], **operation.kwargs)


def _pick(value: Any, name: str) -> Any:
    return [_pick(item, name) for item in value] if isinstance(value, list) else getattr(value, name)


def _moved(operation: Operation, data: list[Any], rest: Sequence[Any], padding: int | None) -> Any:
    name, kwargs = operation.name, operation.kwargs
    if name in ("view", "_unsafe_view", "reshape", "view_as", "reshape_as"):
        return data[0].reshape(operation.shape)
    if name == "expand_as":
        return data[0].expand(operation.shape)
    if name in ("pad", "constant_pad_nd"):
        return _padded(operation, data[0], padding)
    return operation.function(*data, *rest, **{key: value for key, value in kwargs.items() if key != "memory_format"})


def _padded(operation: Operation, labels: Tensor, padding: int | None) -> Tensor:
    widths = operation.get(1, "pad")
    mode = operation.get(2, "mode", "constant") if operation.name == "pad" else "constant"
    if mode != "constant":  # torch pads whole numbers only with constants
        padded: Tensor = torch.nn.functional.pad(labels.double(), widths, mode=mode).long()
        return padded
    value = operation.get(3 if operation.name == "pad" else 2, "value") or 0
    if padding is None:
        padding = int(operation.found.constant(torch.tensor([float(value)])).code)
    elif padding == ZERO and value != 0:
        padding = FIXED
    return torch.nn.functional.pad(labels, widths, value=padding)


def _cat(operation: Operation, parts: list[Activation]) -> Activation:
    dim = operation.get(1, "dim", 0)
    fields = []
    for name in ("unit", "scale", "sign", "code"):
        labels = [getattr(part, name) for part in parts]
        for axis in range(len(operation.shape)):
            if axis != dim % len(operation.shape) and not any(varies(part, axis) for part in labels):
                labels = [part.narrow(axis, 0, 1) for part in labels]
        fields.append(compact(torch.cat(labels, dim).expand(operation.shape)))
    return Activation(*fields)


def _with_tables(operation: Operation) -> list[Any]:
    """Put together parameters among activations as activations, along the axis of these activations' units."""
    found, values = operation.found, list(operation.args[0])
    along = [axis for value in values if isinstance(value, Activation) for axis in found.unit_axes(value)]
    for number, value in enumerate(values):
        if isinstance(value, View) and along and along[0] in value.wide:
            values[number] = found.table(value, along[0])
    return values


def _view_of(operation: Operation, view: View) -> View | None:
    """A parameter with its axes in another order, with axes of size 1 more or less, or some of its rows."""
    name, args = operation.name, operation.args
    marks = list(range(len(view.dims)))
    if name in ("clone", "contiguous", "alias", "detach"):
        return view
    if name in ("permute", "transpose", "t", "unsqueeze", "squeeze", "movedim", "swapaxes", "numpy_T", "mT"):
        # Found out on a tensor whose sizes tell its axes apart.
        sizes = [1 if size == 1 else mark + 2 for mark, size in zip(marks, view.shape, strict=True)]
        moved = operation.function(torch.empty(sizes), *args[1:], **operation.kwargs)
        ones = iter([view.dims[mark] for mark in marks if view.shape[mark] == 1])
        dims = [view.dims[size - 2] if size > 1 else next(ones, None) for size in moved.shape]
        if sorted(dim for dim in dims if dim is not None) != sorted(dim for dim in view.dims if dim is not None):
            dims = [view.dims[size - 2] if size > 1 else None for size in moved.shape]
        return attrs.evolve(view, shape=tuple(operation.shape), dims=tuple(dims))
    if name in ("view", "reshape", "_unsafe_view"):
        kept = [(size, dim) for size, dim in zip(view.shape, view.dims, strict=True) if size > 1]
        shape = tuple(operation.shape)
        if [size for size, _ in kept] != [size for size in shape if size > 1]:
            return None
        left = iter(dim for _, dim in kept)
        return attrs.evolve(view, shape=shape, dims=tuple(next(left) if size > 1 else None for size in shape))
    if name in ("expand", "expand_as", "repeat"):
        return _repeated(view, tuple(operation.shape))
    if name == "slice" and view.rows is None:
        dim = operation.get(1, "dim", 0)
        size = view.shape[dim]
        first, end, step = slice(operation.get(2, "start"), operation.get(3, "end"), operation.get(4, "step")).indices(
            size
        )
        if step == 1 and (first, end) == (0, size):
            return view
        if step == 1 and view.dims[dim] is not None:
            return attrs.evolve(view, shape=tuple(operation.shape), rows=(first, end), rows_dim=view.dims[dim])
    return None


def _repeated(view: View, shape: tuple[int, ...]) -> View | None:
    """A parameter repeated along new axes, and along those of size 1."""
    new = len(shape) - len(view.shape)
    sizes, dims = (*(1,) * new, *view.shape), (*(None,) * new, *view.dims)
    if any(size not in (1, wanted) for size, wanted in zip(sizes, shape, strict=True)):
        return None
    kept = tuple(dim if size == wanted else None for dim, size, wanted in zip(dims, sizes, shape, strict=True))
    return attrs.evolve(view, shape=shape, dims=kept)
