"""Trivial symmetries as labels on the axes of parameters, and the compiler from written specs.

For every axis of every parameter there are two arrays of labels and an exponent (`Axis`). Entries with one permutation
label move together; entries with one scaling label share one positive factor, to the power of the exponent. These are
two partitions: a depthwise convolution ties what moves, not what scales. An action is then the same few lines for every
kind of layer: gather by labels, multiply by factors (`hyperframe.symmetry`).
"""

from collections.abc import Iterable

import attrs
import torch
from torch import Tensor

from hyperframe.params import Param
from hyperframe.spec import LayerSpec, Place, Slice, TargetSpec
from hyperframe.weights import pack

FROZEN = -1
"""The label of entries that take no part."""


@attrs.frozen(kw_only=True)
class Axis:
    """Labels on one axis of one parameter.

    Attributes:
        parameter: its name in the module.
        dim: which axis.
        permutation: a label for each entry; entries of one label move together. `FROZEN` moves nowhere.
        scaling: a label for each entry; entries of one label share a positive factor. `FROZEN` has none.
        exponent: +1 where the axis writes (times the factor), −1 where it reads (divided by it), 0 where neither.
        groups: in a grouped kernel the labels on the shorter of the two axes "o" and "i" depend on the group; the
            arrays then hold one block of labels for each group.
    """

    parameter: str
    dim: int
    permutation: tuple[int, ...]
    scaling: tuple[int, ...]
    exponent: int
    groups: int = 1

    def spread(self, param: Param) -> Tensor:
        """The scaling labels, int64, in a shape that broadcasts to the parameter's."""
        shape, labels = param.known_shape, torch.tensor(self.scaling)
        view = [1] * len(shape)
        if self.groups > 1:
            partner = param.letters.index("i" if param.letters[self.dim] == "o" else "o")
            labels = labels.view(self.groups, -1).repeat_interleave(shape[partner] // self.groups, 0)
            labels = labels if partner < self.dim else labels.T
            view[partner] = shape[partner]
        view[self.dim] = -1
        return labels.reshape(view)


@attrs.frozen(kw_only=True)
class Structure:
    """The labels of a target, and which of them may be exchanged.

    Attributes:
        spec: the bound spec whose parameters the labels sit on.
        axes: the labelled axes; an axis can appear twice, as when a depthwise kernel's filters write and read.
        classes: sets of permutation labels that may be exchanged among each other, each of two labels or more.
    """

    spec: TargetSpec
    axes: tuple[Axis, ...]
    classes: tuple[tuple[int, ...], ...]

    def scaling_grids(self, exponent: int) -> dict[str, Tensor]:
        """The scaling labels of one exponent, laid out like the weights: for each layer [filters, filter_size]."""
        params = {param.parameter: param for layer in self.spec.layers for param in layer.params}
        grids = {name: torch.full(param.known_shape, FROZEN) for name, param in params.items()}
        for axis in self.axes:
            if axis.exponent == exponent:
                grid = grids[axis.parameter]
                grids[axis.parameter] = torch.where(grid == FROZEN, axis.spread(params[axis.parameter]), grid)
        packed = pack(self.spec, {name: grid[None] for name, grid in grids.items()})
        return {layer: grid[0] for layer, grid in packed.items()}


class _Labels:
    """Permutation labels of unit spaces, united where units must move together."""

    def __init__(self, spec: TargetSpec) -> None:
        self.spec = spec
        self.first: dict[str, int] = {}
        count = 0
        for unit in spec.units:
            self.first[unit.name] = count
            count += unit.size
        self.parent = list(range(count))
        self.frozen: set[int] = set()

    def of(self, places: Iterable[Place]) -> list[int]:
        """The labels of what several places hold, one after the other."""
        labels: list[int] = []
        for place in places:
            if isinstance(place, Slice):
                labels += [self.first[place.space] + index for index in place.indices]
            else:
                labels += range(self.first[place], self.first[place] + self.spec.unit(place).size)
        return labels

    def root(self, label: int) -> int:
        while self.parent[label] != label:
            label = self.parent[label]
        return label

    def unite(self, one: Iterable[int], other: Iterable[int]) -> None:
        for a, b in zip(one, other, strict=True):
            high, low = max(self.root(a), self.root(b)), min(self.root(a), self.root(b))
            self.parent[high] = low

    def roots(self, labels: Iterable[int]) -> tuple[int, ...]:
        """Each label's representative, or `FROZEN`."""
        frozen = {self.root(label) for label in self.frozen}
        return tuple(FROZEN if self.root(label) in frozen else self.root(label) for label in labels)


def compile_structure(spec: TargetSpec) -> Structure:
    """Compile a written spec to labels on axes.

    Every unit of a space has a permutation label; a depthwise or elementwise layer moves what it reads with what it
    writes. Every unit of a space whose operations are all positively homogeneous has a scaling label; a normalisation
    stops the factor of what it reads, and the scale and shift behind it write the new one.

    Args:
        spec: a spec that is bound to its module.
    """
    labels = _Labels(spec)
    scaled = {label for unit in spec.units if unit.homogeneous for label in labels.of([unit.name])}
    for layer in spec.layers:
        reads, writes = labels.of(layer.reads), labels.of(layer.writes)
        elementwise = layer.param("kernel") is None or _depthwise(layer, reads)
        if layer.reads and layer.writes and elementwise:
            labels.unite(reads, writes)
        elif layer.groups > 1 or (layer.param("kernel") is None and layer.reads):
            labels.frozen.update(reads, writes)
        if layer.norm == "group":  # the spec does not say which channels are normalised together
            labels.frozen.update(writes)
        scaled.difference_update(_without_factor(layer, reads, writes))
    for mixed in _mixed_reads(spec):
        labels.frozen.update(labels.of(mixed))
        scaled.difference_update(labels.of(mixed))
    # Layers that share a parameter's rows read with the same axis, which counts once.
    axes = dict.fromkeys(axis for layer in spec.layers for axis in _layer_axes(spec, layer, labels, scaled))
    return Structure(spec=spec, axes=tuple(axes), classes=_classes(spec, labels))


def _depthwise(layer: LayerSpec, reads: list[int]) -> bool:
    return layer.groups > 1 and layer.groups == layer.filters == len(reads)


def _without_factor(layer: LayerSpec, reads: list[int], writes: list[int]) -> list[int]:
    """The units that a layer reads or writes and that can have no factor of their own because of it."""
    units = []
    elementwise = layer.param("kernel") is None
    if elementwise and layer.norm in ("layer", "group"):  # normalised together with other units
        units += reads
    if layer.param("scale") is None and layer.norm != "none":  # normalised, and nothing behind it to carry a factor
        units += writes
    if layer.param("scale") is None and layer.norm == "none" and elementwise and layer.reads:  # only an offset
        units += reads + writes
    return units


def _mixed_reads(spec: TargetSpec) -> list[tuple[Place, ...]]:
    """What is read by kernels that are rows of one parameter and read different units: its axis has no one label."""
    first: dict[str, tuple[Place, ...]] = {}
    mixed = []
    for layer in spec.layers:
        source = layer.param("kernel")
        if source is not None and first.setdefault(source.parameter, layer.reads) != layer.reads:
            mixed += [first[source.parameter], layer.reads]
    return mixed


def _layer_axes(spec: TargetSpec, layer: LayerSpec, labels: _Labels, scaled: set[int]) -> list[Axis]:
    reads, writes = labels.of(layer.reads), labels.of(layer.writes)
    # A normalisation, or a learnt factor behind the kernel, carries the factor in place of the kernel.
    behind = layer.norm != "none" or (layer.param("kernel") is not None and layer.param("scale") is not None)
    carriers = ("scale", "shift") if behind else ("kernel", "bias", "scale", "shift")
    axes = []
    for param in layer.params:
        dim = param.letters.index("o")
        if writes:
            carries = param.role in carriers
            groups = layer.groups if param.inputs_first else 1
            axes.append(_axis(param, dim, writes, labels, scaled, 1 if carries else 0, groups))
        if not reads:
            continue
        if param.role == "kernel":
            axes.append(_reading_axis(layer, param, reads, labels, scaled))
        elif layer.param("kernel") is None and layer.norm == "none" and param.role == "scale":
            axes.append(_axis(param, dim, reads, labels, scaled, -1))
    return axes


def _axis(
    param: Param, dim: int, units: list[int], labels: _Labels, scaled: set[int], exponent: int, groups: int = 1
) -> Axis:
    permutation = labels.roots(units)
    if param.rows is not None and dim == param.letters.index("o"):
        before = (FROZEN,) * param.rows[0]
        after = (FROZEN,) * (param.known_shape[dim] - param.rows[1])
        permutation = before + permutation + after
        units = [FROZEN] * len(before) + units + [FROZEN] * len(after)
    scaling = tuple(unit if unit in scaled and exponent else FROZEN for unit in units)
    return Axis(
        parameter=param.parameter, dim=dim, permutation=permutation, scaling=scaling, exponent=exponent, groups=groups
    )


def _reading_axis(layer: LayerSpec, param: Param, reads: list[int], labels: _Labels, scaled: set[int]) -> Axis:
    """The axis on which a kernel reads; behind a flatten each unit stands for a run of neighbouring inputs."""
    if (_depthwise(layer, reads) or "i" not in param.letters) and not param.inputs_first:
        return _axis(param, param.letters.index("o"), reads, labels, scaled, -1)
    dim = param.letters.index("i")
    groups = 1 if param.inputs_first else layer.groups
    positions = param.known_shape[dim] * groups // len(reads)
    spread = [unit for unit in reads for _ in range(positions)]
    return _axis(param, dim, spread, labels, scaled, -1, groups)


def _classes(spec: TargetSpec, labels: _Labels) -> tuple[tuple[int, ...], ...]:
    """Labels of one unit space may be exchanged where their units are read and written alike, in the same order."""
    spaces: dict[int, str] = {}
    for space in reversed(spec.units):
        spaces |= {labels.root(label): space.name for label in labels.of([space.name])}
    seen: dict[int, list[tuple[int, int]]] = {}
    own: dict[int, dict[int, int]] = {}  # a label's units, numbered as they turn up
    for number, places in enumerate(places for layer in spec.layers for places in (layer.reads, layer.writes)):
        units = labels.of(places)
        for unit, label in zip(units, labels.roots(units), strict=True):
            if label != FROZEN:
                numbers = own.setdefault(label, {})
                seen.setdefault(label, []).append((number, numbers.setdefault(unit, len(numbers))))
    classes: dict[tuple[str, tuple[tuple[int, int], ...]], list[int]] = {}
    for label in sorted(seen):
        classes.setdefault((spaces[label], tuple(seen[label])), []).append(label)
    return tuple(tuple(members) for members in classes.values() if len(members) > 1)
