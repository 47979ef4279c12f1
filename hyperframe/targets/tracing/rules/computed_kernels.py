"""Rules for kernels that are computed from parameters, and for what torch computes them with."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Role
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import Activation, Labels, uniform
from hyperframe.targets.tracing.rules.computed import (
    COMPUTED,
    TAKEN_APART,
    TAPS,
    Computed,
    Strand,
    compute_from,
    step,
)
from hyperframe.targets.tracing.rules.linear import CONVOLUTIONS
from hyperframe.targets.tracing.rules.registry import Operation
from hyperframe.targets.tracing.state import Discovery


@attrs.frozen
class _Kernel:
    """A kernel that is computed.

    Attributes:
        value: the kernel.
        o: its axis of filters.
        i: its axis of what they read.
    """

    value: Computed
    o: int
    i: int

    @property
    def filters(self) -> int:
        """The number of entries along the axis of filters."""
        return self.value.shape[self.o]


@attrs.define
class _Origins:
    """The axes of parameters that a kernel's filters, and what they read, come from: by parameter and number."""

    o: frozenset[tuple[str, int]] = frozenset()
    i: frozenset[tuple[str, int]] = frozenset()


def convolution(operation: Operation) -> Any:
    """A convolution whose kernel is computed."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    transposed, groups = CONVOLUTIONS[operation.name], int(operation.get(6, "groups", 1))
    if not isinstance(x, Activation) or not isinstance(kernel, View | Computed) or len(x.shape) != len(kernel.shape):
        return None
    if groups > 1 and (transposed or groups != x.shape[1]):
        return None  # the filters of all groups read with one axis
    return _apply_kernel(operation, x, 1, kernel, bias, (1, 0) if transposed else (0, 1))


def dense(operation: Operation) -> Any:
    """A dense layer whose kernel is computed."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    if not isinstance(x, Activation) or not isinstance(kernel, View | Computed) or len(kernel.shape) != 2:
        return None
    return _apply_kernel(operation, x, len(x.shape) - 1, kernel, bias, (0, 1))


def product(operation: Operation) -> Any:
    """An activation times a matrix that is computed."""
    bias, x, kernel = operation.args[:3] if operation.name == "addmm" else (None, *operation.args[:2])
    if not operation.kwargs and operation.name != "addmm" and not isinstance(x, Activation):
        return _contract(operation, x, kernel)
    if operation.kwargs or not isinstance(x, Activation) or not isinstance(kernel, View | Computed):
        return None
    if len(kernel.shape) != 2:
        return None
    return _apply_kernel(operation, x, len(x.shape) - 1, kernel, bias, (1, 0))


COMPUTED.update(dict.fromkeys(CONVOLUTIONS, convolution))
COMPUTED.update({"linear": dense, "matmul": product, "mm": product, "addmm": product})


def _contract(operation: Operation, one: Any, other: Any) -> Computed | None:
    """The product of two matrices that are computed, or known: what is between them is written and read."""
    found = operation.found
    matrices = [
        Computed((), found.constant(value), ()) if isinstance(value, Tensor) else value for value in (one, other)
    ]
    matrices = [compute_from(found, value) if isinstance(value, View) else value for value in matrices]
    if not all(isinstance(value, Computed) and len(value.shape) == 2 for value in matrices):
        return None
    kept, between = [], []
    for place, (matrix, mixed) in enumerate(zip(matrices, (-1, -2), strict=True)):
        for strand in matrix.strands:
            if strand.axes() == {mixed}:
                between.append(strand)
            elif mixed in strand.axes():
                found.freeze(strand.labels)
            else:
                labels = found.lay_out(operation.shape, place, found.along(strand.labels, place))
                kept.append(Strand(labels, strand.origins))
    if len(between) == 2 and between[0] in matrices[0].strands and between[1] in matrices[1].strands:
        _match(found, found.along(between[0].labels, 1), found.along(between[1].labels, 0))
    else:
        for strand in between:
            found.freeze(strand.labels)
    return Computed(tuple(kept), found.opaque(operation.shape), (*matrices[1].sources, *matrices[0].sources))


@attrs.define
class _Written:
    """The labels that a kernel's filters write: units unite, factors and signs multiply."""

    unit: Tensor | None = None
    parts: list[Labels] = attrs.field(factory=list)

    def add(self, found: Discovery, labels: Labels, *, with_units: bool) -> None:
        """Add labels of each filter, with their units or without."""
        if with_units and self.unit is not None:
            found.units.unite(self.unit, labels.unit)
        elif with_units:
            self.unit = labels.unit
        self.parts.append(labels)

    def labels(self, found: Discovery, filters: int) -> Labels:
        """Return unit, factor and sign of each filter."""
        none = uniform((filters,))
        products = (
            partition.product([(none, 1), *((getattr(part, name), 1) for part in self.parts)])
            for name, partition in found.factors.items()
        )
        return Labels(none if self.unit is None else self.unit, *products)


def _apply_kernel(
    operation: Operation, x: Activation, dim: int, given: View | Computed, bias: Any, axes: tuple[int, int]
) -> Any:
    """Apply a computed kernel along an axis of an activation: of its own axes the first writes, the second reads."""
    found, filters = operation.found, operation.shape[dim]
    kernel = _Kernel(compute_from(found, given) if isinstance(given, View) else given, *axes)
    labels, origins = _connect(operation, kernel, x, dim)
    layer = _make_layer(operation, kernel, origins)
    plain = isinstance(bias, View) and tuple(bias.shape) == (filters,)
    if plain:
        labels = found.replace_zeros(labels)
        found.parameters.claim(layer, "shift" if "scale" in layer.roles else "bias", bias, "o")
        found.parameters.label(bias, 0, 1, labels)
    result = found.lay_out(operation.shape, dim, labels)
    if bias is None or plain:
        layer.computed = True
        operation.note_layer(layer, labels.unit, dim)
        return result
    rest = [1 for _ in range(dim + 1, len(operation.shape))]
    shape = [*bias.shape, *rest]
    return step(operation, "add", result, step(operation, "view", bias, shape, shape=shape) if rest else bias)


def _connect(operation: Operation, kernel: _Kernel, x: Activation, dim: int) -> tuple[Labels, _Origins]:
    """Let a kernel read along an axis of an activation; return what its filters write, and where both come from."""
    found, filters, rank = operation.found, operation.shape[dim], len(kernel.value.shape)
    read, written, origins = found.along(x, dim), _Written(), _Origins()
    for strand in kernel.value.strands:
        own = {axis + rank for axis in strand.axes()}
        if own == {kernel.i}:
            _match(found, found.along(strand.labels, kernel.i), read)
            origins.i |= strand.origins
        elif own <= {kernel.o}:
            labels = found.along(strand.labels, kernel.o)
            written.add(found, labels, with_units=labels.has_units)
            origins.o |= strand.origins
        else:
            found.freeze(strand.labels)
    if not origins.i and kernel.value.shape[kernel.i] > 1:
        found.freeze(x)
    elif not origins.i:  # each filter reads one input, whose factor it hands on
        inputs = x.shape[dim]
        places = torch.arange(inputs).repeat_interleave(filters // inputs)
        written.add(found, read.map(lambda labels: labels[places]), with_units=inputs > 1)
    return written.labels(found, filters), origins


def _match(found: Discovery, own: Labels, read: Labels) -> None:
    """Match a kernel's axis that reads: its units are those that it reads, its factors make up for theirs."""
    found.units.unite(own.unit, read.unit)
    found.scales.inverse(own.scale, read.scale)
    found.signs.unite(own.sign, read.sign)


def _make_layer(operation: Operation, kernel: _Kernel, origins: _Origins) -> FoundLayer:
    """Make the layer of a kernel's parameters: the first that could be it, and one factor a filter.

    Other parameters get layers of their own.
    """
    found, sources = operation.found, kernel.value.sources
    layer = FoundLayer(name=sources[0].owner, filters=0, groups=int(operation.get(6, "groups", 1)))
    own: dict[Role, tuple[View, list[str]]] = {}
    axes = {name for name, _ in origins.o}
    # What others read with comes before them, and what has most axes before a factor.
    wide = {view.name: sum(size > 1 for size in view.shape) for view in sources}
    for view in sorted(sources, key=lambda view: (view.name in axes, -wide[view.name])):
        letters = _letters(view, kernel, origins)
        without_reading = [letter if letter != "i" else "z" for letter in letters]
        role: Role = "scale" if "kernel" in own else "kernel"
        fits = "i" in letters if role == "kernel" else wide[view.name] <= 1
        if role not in own and fits and view.shape[letters.index("o")] == kernel.filters:
            own[role] = (view, letters if role == "kernel" else without_reading)
        else:  # before the layer, since its bias may have all their factors
            apart = FoundLayer(name=view.owner, filters=0)
            found.parameters.claim_computed(apart, "shift", view, without_reading)
    for role, (view, letters) in own.items():
        found.parameters.claim_computed(layer, role, view, letters)
    return layer


def _letters(view: View, kernel: _Kernel, origins: _Origins) -> list[str]:
    """Choose a letter for each of a parameter's axes: by what became of it, or else as in the kernel."""
    letters: dict[int, str] = {}
    for letter, axes in (("o", origins.o), ("i", origins.i)):
        found = [dim for dim in range(view.rank) if (view.name, dim) in axes and dim not in letters]
        letters |= dict.fromkeys(found[:1], letter)
    if view.rank == len(kernel.value.shape):
        for letter, dim in (("o", kernel.o), ("i", kernel.i)):
            if letter not in letters.values() and dim not in letters:
                letters[dim] = letter
    if "o" not in letters.values():
        letters[next((dim for dim in range(view.rank) if dim not in letters), 0)] = "o"
    taps = iter(TAPS)
    return [letters.get(dim) or next(taps) for dim in range(view.rank)]


def weight_norm(operation: Operation) -> Any:
    """Torch's weight_norm: a direction, by its length, times a factor for each filter."""
    direction, factor, axis = operation.args[0], operation.args[1], operation.get(2, "dim", 0)
    rank = len(direction.shape)
    dims = [dim for dim in range(rank) if dim != axis % rank] if axis != -1 else list(range(rank))
    kept = [1 if dim in dims else size for dim, size in enumerate(direction.shape)]
    length = step(operation, "linalg_vector_norm", direction, 2, dims, True, shape=kept)
    return step(operation, "mul", direction, step(operation, "div", factor, length, shape=kept))


def batch_norm(operation: Operation) -> Any:
    """A BatchNorm over a kernel's filters, as for standardised kernels: less its mean, by its deviation."""
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    with_statistics = next((value for value in operation.args[3:] if isinstance(value, bool)), False)
    if not isinstance(x, View | Computed) or not with_statistics or operation.kwargs:
        return None
    shape = operation.first_shape
    x = compute_from(operation.found, x) if isinstance(x, View) else x
    dims = [dim for dim in range(len(shape)) if dim != 1]
    kept = [1 if dim in dims else size for dim, size in enumerate(shape)]
    mean, deviation = (step(operation, name, x, dims, shape=kept) for name in ("mean", "std"))
    result = step(operation, "div", step(operation, "sub", x, mean, shape=shape), deviation, shape=shape)
    for name, value in (("mul", scale), ("add", shift)):
        if value is not None:
            laid = step(operation, "view", value, kept, shape=kept)
            result = step(operation, name, result, laid, shape=shape)
    if result is None or not operation.several:
        return result
    return (result, *(operation.found.opaque(part) for part in operation.shape[1:]))


NORMS = ("_native_batch_norm_legit", "native_batch_norm", "batch_norm")
COMPUTED.update(dict.fromkeys(NORMS, batch_norm))


def compose(operation: Operation) -> Any:
    """A sum with a product or quotient in it: x + v·a·b, x + v·a/b, x + w·(y − x)."""
    x, one, other = operation.args[:3]
    if operation.name != "lerp":
        name = "mul" if operation.name == "addcmul" else "div"
        return step(operation, "add", x, step(operation, name, one, other))
    if isinstance(other, int | float):
        return step(operation, "add", x, one)  # both with a number for a factor
    return step(operation, "add", x, step(operation, "mul", step(operation, "sub", one, x), other))


TAKEN_APART.update({"addcmul": compose, "addcdiv": compose, "lerp": compose, "_weight_norm": weight_norm})
