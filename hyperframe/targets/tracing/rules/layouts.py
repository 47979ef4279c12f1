"""Operations that only move entries: they do to labels the same as to entries."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.findings import View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, compact, varies
from hyperframe.targets.tracing.rules.registry import Operation, flat, lift, rule

LAYOUTS = (
    *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand"),
    *("clone", "contiguous", "alias", "detach", "select", "slice", "index_select", "index", "roll", "flip"),
    *("flatten", "unflatten", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "repeat", "narrow"),
    *("movedim", "split", "split_with_sizes", "chunk", "unbind", "cat", "stack", "pad", "constant_pad_nd"),
    *("swapaxes", "numpy_T", "mT", "diagonal", "unfold", "lift_fresh_copy", "expand_as", "view_as"),
    *("reshape_as", "tile", "repeat_interleave", "rot90", "slice_scatter", "select_scatter"),
)
SHAPES = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
LAID_OUT = {"slice_scatter": 2, "select_scatter": 2}
"""How many arguments are laid out; of all other operations it is one, or a list."""

PADDING = {"unit": FIXED, "scale": ZERO, "sign": ZERO, "code": None}
"""Labels of zeros that are put around an activation; their code is that of the number."""


@rule(*LAYOUTS)
def move(operation: Operation) -> Any:
    """An operation that only moves entries does to their labels what it does to them."""
    first = operation.args[0]
    if isinstance(first, View):
        view_of = VIEWS.get(operation.name)
        return None if view_of is None else view_of(operation, first)
    if isinstance(operation.get(1, "dtype"), torch.dtype):
        return None  # bits that are read as another type
    count = LAID_OUT.get(operation.name, 1)
    if any(isinstance(value, Activation | View) for value in flat([operation.args[count:], operation.kwargs.values()])):
        return None  # where entries go is computed
    if operation.name == "cat":
        operation = attrs.evolve(operation, args=(_add_tables(operation), *operation.args[1:]))
    if any(isinstance(value, View) for value in flat(operation.args[:count])):
        return None  # a parameter among others is a value that is computed
    data = [lift(operation.found, value) for value in operation.args[:count]]
    if operation.name == "cat" and all(isinstance(value, Activation) for value in data[0]):
        return _cat(operation, data[0])
    fields = [
        _move_labels(operation, _pick(data, name), operation.args[count:], padding) for name, padding in PADDING.items()
    ]
    if isinstance(fields[0], Tensor):
        return Activation(*fields).map(compact)
    return tuple(Activation(*part).map(compact) for part in zip(*fields, strict=True))


@rule("copy", "fill", "zero", *SHAPES)
def fill(operation: Operation) -> Any:
    """Entries that are given, or known numbers, in the shape of another activation."""
    if operation.name == "copy":
        source = operation.args[1]
        if not isinstance(source, Activation | Tensor):
            return None
        laid: Activation = lift(operation.found, source)
        return laid.map(lambda labels: labels.expand(operation.shape))
    if any(isinstance(value, Activation | View) for value in flat(operation.args[1:])):
        return None
    shape, rest = operation.args[0].shape, [*operation.args[1:], *operation.kwargs.values()]
    kind = torch.complex64 if any(isinstance(value, complex) for value in rest) else torch.float32
    return operation.function(torch.zeros(shape, dtype=kind), *operation.args[1:], **operation.kwargs)


def _pick(value: Any, name: str) -> Any:
    """Take one tensor of each activation, those within lists as well."""
    return [_pick(item, name) for item in value] if isinstance(value, list) else getattr(value, name)


def _move_labels(operation: Operation, data: list[Any], rest: Sequence[Any], padding: int | None) -> Any:
    name, kwargs = operation.name, operation.kwargs
    if name in ("view", "_unsafe_view", "reshape", "view_as", "reshape_as"):
        return data[0].reshape(operation.shape)
    if name == "expand_as":
        return data[0].expand(operation.shape)
    if name in ("pad", "constant_pad_nd"):
        return _pad(operation, data[0], padding)
    return operation.function(*data, *rest, **{key: value for key, value in kwargs.items() if key != "memory_format"})


def _pad(operation: Operation, labels: Tensor, padding: int | None) -> Tensor:
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
    dim, rank = operation.get(1, "dim", 0), len(operation.shape)

    def cat(labels: list[Tensor]) -> Tensor:
        for axis in set(range(rank)) - {dim % rank}:
            if not any(varies(part, axis) for part in labels):
                labels = [part.narrow(axis, 0, 1) for part in labels]
        return compact(torch.cat(labels, dim).expand(operation.shape))

    return Activation(*(cat(_pick(parts, name)) for name in PADDING))


def _add_tables(operation: Operation) -> list[Any]:
    """Make activations of parameters that are put together with activations, along the axis of these ones' units."""
    found, values = operation.found, list(operation.args[0])
    along = [axis for value in values if isinstance(value, Activation) for axis in found.unit_axes(value)]
    for number, value in enumerate(values):
        if isinstance(value, View) and along and along[0] in value.wide:
            values[number] = found.add_table(value, along[0])
    return values


# Views of parameters: with axes in another order, with axes of size 1 more or less, or of some rows.


def _keep(operation: Operation, view: View) -> View:
    return view


def _order_axes(operation: Operation, view: View) -> View:
    """Axes in another order, or some of size 1 more or less: found out on a tensor whose sizes tell its axes apart."""
    marks = list(range(len(view.dims)))
    sizes = [1 if size == 1 else mark + 2 for mark, size in zip(marks, view.shape, strict=True)]
    moved = operation.function(torch.empty(sizes), *operation.args[1:], **operation.kwargs)
    ones = iter([view.dims[mark] for mark in marks if view.shape[mark] == 1])
    dims = [view.dims[size - 2] if size > 1 else next(ones, None) for size in moved.shape]
    if {dim for dim in dims if dim is not None} != {dim for dim in view.dims if dim is not None}:
        dims = [view.dims[size - 2] if size > 1 else None for size in moved.shape]
    return attrs.evolve(view, shape=tuple(operation.shape), dims=tuple(dims))


def _reshape(operation: Operation, view: View) -> View | None:
    """Another shape, with axes of size 1 more or less."""
    kept = [(size, dim) for size, dim in zip(view.shape, view.dims, strict=True) if size > 1]
    shape = tuple(operation.shape)
    if [size for size, _ in kept] != [size for size in shape if size > 1]:
        return None
    left = iter(dim for _, dim in kept)
    return attrs.evolve(view, shape=shape, dims=tuple(next(left) if size > 1 else None for size in shape))


def _repeat(operation: Operation, view: View) -> View | None:
    """A parameter repeated along new axes, and along those of size 1."""
    shape = tuple(operation.shape)
    new = len(shape) - len(view.shape)
    sizes, dims = (*(1,) * new, *view.shape), (*(None,) * new, *view.dims)
    if any(size not in (1, wanted) for size, wanted in zip(sizes, shape, strict=True)):
        return None
    kept = tuple(dim if size == wanted else None for dim, size, wanted in zip(dims, sizes, shape, strict=True))
    return attrs.evolve(view, shape=shape, dims=kept)


def _take_rows(operation: Operation, view: View) -> View | None:
    """Some rows, one after the other, of a parameter of which all are there."""
    dim = operation.get(1, "dim", 0)
    size, axis = view.shape[dim], view.dims[dim]
    chosen = slice(operation.get(2, "start"), operation.get(3, "end"), operation.get(4, "step"))
    first, end, step = chosen.indices(size)
    if view.rows is not None or step != 1:
        return None
    if (first, end) == (0, size):
        return view
    if axis is None:
        return None
    return attrs.evolve(view, shape=tuple(operation.shape), rows=(first, end), rows_dim=axis)


VIEWS: dict[str, Callable[[Operation, View], View | None]] = {
    **dict.fromkeys(("clone", "contiguous", "alias", "detach"), _keep),
    **dict.fromkeys(
        ("permute", "transpose", "t", "unsqueeze", "squeeze", "movedim", "swapaxes", "numpy_T", "mT"), _order_axes
    ),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), _reshape),
    **dict.fromkeys(("expand", "expand_as", "repeat"), _repeat),
    "slice": _take_rows,
}
"""Operations that see a parameter in another way."""
