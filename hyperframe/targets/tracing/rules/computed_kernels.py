"""Rules for kernels that are computed from parameters, and for what torch computes them with."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Role
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation
from hyperframe.targets.tracing.rules.computed import COMPUTED, TAKEN_APART, TAPS, Computed, Strand, computed_of, step
from hyperframe.targets.tracing.rules.linear import CONVOLUTIONS
from hyperframe.targets.tracing.rules.registry import Operation
from hyperframe.targets.tracing.state import Discovery


def convolution(operation: Operation) -> Any:
    """A convolution whose kernel is computed."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    transposed, groups = CONVOLUTIONS[operation.name], int(operation.get(6, "groups", 1))
    if not isinstance(x, Activation) or not isinstance(kernel, View | Computed) or len(x.shape) != len(kernel.shape):
        return None
    if groups > 1 and (transposed or groups != x.shape[1]):
        return None  # the filters of all groups read with one axis
    return _read(operation, x, 1, kernel, bias, (1, 0) if transposed else (0, 1))


def dense(operation: Operation) -> Any:
    """A dense layer whose kernel is computed."""
    x, kernel, bias = operation.args[0], operation.args[1], operation.get(2, "bias")
    if not isinstance(x, Activation) or not isinstance(kernel, View | Computed) or len(kernel.shape) != 2:
        return None
    return _read(operation, x, len(x.shape) - 1, kernel, bias, (0, 1))


def product(operation: Operation) -> Any:
    """An activation times a matrix that is computed."""
    args = operation.args[1:] if operation.name == "addmm" else operation.args
    x, kernel = args[0], args[1]
    if not operation.kwargs and operation.name != "addmm" and not isinstance(x, Activation):
        return _contracted(operation, x, kernel)
    if operation.kwargs or not isinstance(x, Activation) or not isinstance(kernel, View | Computed):
        return None
    if len(kernel.shape) != 2:
        return None
    bias = operation.args[0] if operation.name == "addmm" else None
    return _read(operation, x, len(x.shape) - 1, kernel, bias, (1, 0))


COMPUTED.update(dict.fromkeys(CONVOLUTIONS, convolution))
COMPUTED.update({"linear": dense, "matmul": product, "mm": product, "addmm": product})


def _contracted(operation: Operation, one: Any, other: Any) -> Computed | None:
    """The product of two matrices that are computed, or known: what is between them is written and read."""
    found = operation.found
    matrices = [
        Computed((), found.constant(value), ()) if isinstance(value, Tensor) else value for value in (one, other)
    ]
    matrices = [computed_of(found, value) if isinstance(value, View) else value for value in matrices]
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
                labels = found.laid_out(operation.shape, place, *found.along(strand.labels, place))
                kept.append(Strand(labels, strand.origins))
    if len(between) == 2 and between[0] in matrices[0].strands and between[1] in matrices[1].strands:
        _match(found, found.along(between[0].labels, 1), found.along(between[1].labels, 0))
    else:
        for strand in between:
            found.freeze(strand.labels)
    return Computed(tuple(kept), found.opaque(operation.shape), (*matrices[1].sources, *matrices[0].sources))


@attrs.define
class _Written:
    """The labels that a kernel's filters write: units, and the factors and signs that multiply."""

    unit: Tensor | None = None
    scales: list[Tensor] = attrs.field(factory=list)
    signs: list[Tensor] = attrs.field(factory=list)

    def add(self, found: Discovery, unit: Tensor | None, scale: Tensor, sign: Tensor) -> None:
        """Units unite, factors and signs multiply."""
        if self.unit is not None and unit is not None:
            found.units.unite(self.unit, unit)
        self.unit = unit if self.unit is None else self.unit
        self.scales.append(scale)
        self.signs.append(sign)

    def labels(self, found: Discovery, filters: int) -> tuple[Tensor, Tensor, Tensor]:
        """Unit, factor and sign of each filter."""
        none = torch.full((filters,), FIXED)
        scale = found.scales.product([(none, 1), *((labels, 1) for labels in self.scales)])
        sign = found.signs.product([(none, 1), *((labels, 1) for labels in self.signs)])
        return none if self.unit is None else self.unit, scale, sign


def _read(
    operation: Operation, x: Activation, dim: int, given: View | Computed, bias: Any, axes: tuple[int, int]
) -> Any:
    """Apply a computed kernel along an axis of an activation: of its own axes the first writes, the second reads."""
    found, (o, i) = operation.found, axes
    kernel = computed_of(found, given) if isinstance(given, View) else given
    rank = len(kernel.shape)
    inputs, filters = x.shape[dim], operation.shape[dim]
    read = found.along(x, dim)
    written = _Written()
    origins: dict[str, set[tuple[str, int]]] = {"o": set(), "i": set()}
    for strand in kernel.strands:
        own = {axis + rank for axis in strand.axes()}
        if own == {i}:
            _match(found, found.along(strand.labels, i), read)
            origins["i"] |= strand.origins
        elif own <= {o}:
            unit, scale, sign = found.along(strand.labels, o)
            written.add(found, unit if bool((unit != FIXED).any()) else None, scale, sign)
            origins["o"] |= strand.origins
        else:
            found.freeze(strand.labels)
    if not origins["i"] and kernel.shape[i] > 1:
        found.freeze(x)
    elif not origins["i"]:  # each filter reads one input, whose factor it hands on
        places = torch.arange(inputs).repeat_interleave(filters // inputs)
        unit, scale, sign = (labels[places] for labels in read)
        written.add(found, unit if inputs > 1 else None, scale, sign)
    unit, scale, sign = written.labels(found, filters)
    layer = _claimed(operation, kernel, origins, o, i)
    plain = isinstance(bias, View) and tuple(bias.shape) == (filters,)
    if plain:
        # Where there is nothing to add to, the offset alone says which factor it has.
        scale = torch.where(scale == ZERO, found.scales.new(filters), scale)
        sign = torch.where(sign == ZERO, found.signs.new(filters), sign)
        found.claim(layer, "shift" if "scale" in layer.roles else "bias", bias, "o")
        found.label(bias, 0, 1, unit, scale, sign)
    result = found.laid_out(operation.shape, dim, unit, scale, sign)
    if bias is None or plain:
        layer.writes, layer.channel, layer.computed = unit, dim, True
        found.producers[operation.node] = layer
        return result
    rest = [1 for _ in range(dim + 1, len(operation.shape))]
    shape = [*bias.shape, *rest]
    return step(operation, "add", result, step(operation, "view", bias, shape, shape=shape) if rest else bias)


def _match(found: Discovery, own: tuple[Tensor, ...], read: tuple[Tensor, ...]) -> None:
    """A kernel's axis that reads: its units are those that it reads, its factors make up for theirs."""
    found.units.unite(own[0], read[0])
    found.scales.inverse(own[1], read[1])
    found.signs.unite(own[2], read[2])


def _claimed(
    operation: Operation, kernel: Computed, origins: dict[str, set[tuple[str, int]]], o: int, i: int
) -> FoundLayer:
    """The layer of a kernel's parameters: the first that could be it, and one factor a filter; others stand apart."""
    found = operation.found
    layer = FoundLayer(name=kernel.sources[0].owner, filters=0, groups=int(operation.get(6, "groups", 1)))
    own: dict[Role, tuple[View, list[str]]] = {}
    axes = {name for name, _ in origins["o"]}
    # What others read with comes before them, and what has most axes before a factor.
    wide = {view.name: sum(size > 1 for size in view.shape) for view in kernel.sources}
    for view in sorted(kernel.sources, key=lambda view: (view.name in axes, -wide[view.name])):
        letters = _letters(view, origins, len(kernel.shape), o, i)
        role: Role = "scale" if "kernel" in own else "kernel"
        fits = "i" in letters if role == "kernel" else wide[view.name] <= 1
        if role not in own and fits and view.shape[letters.index("o")] == kernel.shape[o]:
            own[role] = (view, [letter if letter != "i" or role == "kernel" else "z" for letter in letters])
        else:  # before the layer, since its bias may have all their factors
            apart = [letter if letter != "i" else "z" for letter in letters]
            found.claim_lifted(FoundLayer(name=view.owner, filters=0), "shift", view, apart)
    for role, (view, letters) in own.items():
        found.claim_lifted(layer, role, view, letters)
    return layer


def _letters(view: View, origins: dict[str, set[tuple[str, int]]], rank: int, o: int, i: int) -> list[str]:
    """A letter for each of a parameter's axes: by what became of it, or else as in the kernel."""
    letters: dict[int, str] = {}
    for letter in "oi":
        found = [dim for dim in range(view.rank) if (view.name, dim) in origins[letter] and dim not in letters]
        letters |= dict.fromkeys(found[:1], letter)
    if view.rank == rank:
        for letter, dim in (("o", o), ("i", i)):
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


def normalised(operation: Operation) -> Any:
    """A BatchNorm over a kernel's filters, as for standardised kernels: less its mean, by its deviation."""
    x, scale, shift = operation.args[0], operation.get(1, "weight"), operation.get(2, "bias")
    with_statistics = next((value for value in operation.args[3:] if isinstance(value, bool)), False)
    if not isinstance(x, View | Computed) or not with_statistics or operation.kwargs:
        return None
    several = not isinstance(operation.shape, torch.Size)
    shape = torch.Size(operation.shape[0] if several else operation.shape)
    x = computed_of(operation.found, x) if isinstance(x, View) else x
    dims = [dim for dim in range(len(shape)) if dim != 1]
    kept = [1 if dim in dims else size for dim, size in enumerate(shape)]
    mean, deviation = (step(operation, name, x, dims, shape=kept) for name in ("mean", "std"))
    result = step(operation, "div", step(operation, "sub", x, mean, shape=shape), deviation, shape=shape)
    for name, value in (("mul", scale), ("add", shift)):
        if value is not None:
            laid = step(operation, "view", value, kept, shape=kept)
            result = step(operation, name, result, laid, shape=shape)
    if result is None or not several:
        return result
    return (result, *(operation.found.opaque(part) for part in operation.shape[1:]))


NORMS = ("_native_batch_norm_legit", "native_batch_norm", "batch_norm")
COMPUTED.update(dict.fromkeys(NORMS, normalised))


def composed(operation: Operation) -> Any:
    """A sum with a product or quotient in it: x + v·a·b, x + v·a/b, x + w·(y − x)."""
    x, one, other = operation.args[:3]
    if operation.name != "lerp":
        name = "mul" if operation.name == "addcmul" else "div"
        return step(operation, "add", x, step(operation, name, one, other))
    if isinstance(other, int | float):
        return step(operation, "add", x, one)  # both with a number for a factor
    return step(operation, "add", x, step(operation, "mul", step(operation, "sub", one, x), other))


TAKEN_APART.update({"addcmul": composed, "addcdiv": composed, "lerp": composed, "_weight_norm": weight_norm})
