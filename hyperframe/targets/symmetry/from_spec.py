"""Written specs compiled to labels on the axes of parameters."""

from collections.abc import Iterable
from typing import NamedTuple

from hyperframe.targets.params import Param
from hyperframe.targets.spec import LayerSpec, Place, Slice, TargetSpec
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure


class _Entries(NamedTuple):
    """The labels of an axis's entries, as in an `Axis`."""

    permutation: tuple[int, ...]
    scaling: tuple[int, ...]
    sign: tuple[int, ...]

    def without_factors(self) -> "_Entries":
        """The same without scaling labels."""
        return self._replace(scaling=(FROZEN,) * len(self.scaling))


class _Labels:
    """Permutation labels of unit spaces, united where units must move together.

    Attributes:
        scaled: those units that have a factor of their own, whose label is the unit's.
        signed: those that have a sign of their own, likewise.
    """

    def __init__(self, spec: TargetSpec) -> None:
        self.spec = spec
        self.first: dict[str, int] = {}
        count = 0
        for unit in spec.units:
            self.first[unit.name] = count
            count += unit.size
        self.parent = list(range(count))
        self.frozen: set[int] = set()
        self.scaled = {label for unit in spec.units if unit.homogeneous for label in self.of([unit.name])}
        self.signed = {label for unit in spec.units if unit.odd for label in self.of([unit.name])}

    def own(self, layer: LayerSpec) -> list[int]:
        """Return labels, which no unit has, for what a layer's kernel writes before something that is learnt."""
        first = len(self.parent) + sum(one.filters for one in self.spec.layers[: self.spec.layers.index(layer)])
        return list(range(first, first + layer.filters))

    def of(self, places: Iterable[Place]) -> list[int]:
        """Return the labels of what several places hold, one after the other."""
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
        """Return each label's representative, or `FROZEN`."""
        frozen = {self.root(label) for label in self.frozen}
        return tuple(FROZEN if label == FROZEN or self.root(label) in frozen else self.root(label) for label in labels)

    def of_entries(self, units: Iterable[int]) -> _Entries:
        """Return the labels of entries that belong to units, each with the factor and sign that its unit has."""
        units = list(units)
        scaling, sign = (
            tuple(unit if unit in chosen else FROZEN for unit in units) for chosen in (self.scaled, self.signed)
        )
        return _Entries(self.roots(units), scaling, sign)

    def freeze(self, units: Iterable[int]) -> None:
        """Let units neither move nor have factors and signs of their own."""
        units = list(units)
        self.frozen.update(units)
        self.scaled.difference_update(units)
        self.signed.difference_update(units)


def compile_structure(spec: TargetSpec) -> Structure:
    """Compile a written spec to labels on axes.

    Every unit of a space has a permutation label; a depthwise or elementwise layer moves what it reads with what it
    writes. Every unit of a space whose operations are all positively homogeneous has a scaling label, every unit of one
    whose operations are all odd a sign label. A normalisation stops the factor of what it reads, and the scale and
    shift behind it write the new one; what its kernel writes has labels of its own.

    Args:
        spec: a spec that is bound to its module.
    """
    labels = _Labels(spec)
    for layer in spec.layers:
        reads, writes = labels.of(layer.reads), labels.of(layer.writes)
        elementwise = layer.param("kernel") is None or _is_depthwise(layer, reads)
        if layer.reads and layer.writes and elementwise:
            labels.unite(reads, writes)
        elif layer.groups > 1 or (layer.param("kernel") is None and layer.reads):
            labels.frozen.update(reads, writes)
        if layer.norm == "group":  # the spec does not say which channels are normalised together
            labels.frozen.update(writes)
        labels.scaled.difference_update(_without_factor(layer, reads, writes))
        labels.signed.difference_update(_without_sign(layer, reads, writes))
    for mixed in _mixed_reads(spec):
        labels.freeze(labels.of(mixed))
    # Layers that share a parameter's rows read with the same axis, which counts once.
    axes = dict.fromkeys(axis for layer in spec.layers for axis in _layer_axes(layer, labels))
    shifts = [layer.name for layer in spec.layers if layer.norm == "batch" and {"kernel", "bias"} <= set(layer.columns)]
    return Structure(
        spec=spec,
        axes=tuple(axes),
        classes=_classes(spec, labels),
        absorbed=_absorbed(spec, labels, tuple(axes)),
        shifts=tuple(shifts),
    )


def _absorbed(spec: TargetSpec, labels: _Labels, axes: tuple[Axis, ...]) -> frozenset[int]:
    """Return labels of what a normalisation over the batch reads, and nothing that makes up for factors."""
    normalised: set[int] = set()
    for layer in spec.layers:
        if layer.norm == "batch":
            reads = labels.of(layer.reads)
            normalised.update(labels.own(layer) if layer.param("kernel") is not None else reads)
            normalised.update(reads if _is_depthwise(layer, reads) else ())
    read = {label for axis in axes if axis.exponent == -1 for label in axis.scaling}
    return frozenset(normalised - read)


def _is_depthwise(layer: LayerSpec, reads: list[int]) -> bool:
    return layer.groups > 1 and layer.groups == layer.filters == len(reads)


def _without_factor(layer: LayerSpec, reads: list[int], writes: list[int]) -> list[int]:
    """Return the units that a layer reads or writes and that can have no factor of their own because of it."""
    units = []
    elementwise = layer.param("kernel") is None
    if elementwise and layer.norm in ("layer", "group"):  # normalised together with other units
        units += reads
    if layer.param("scale") is None and layer.norm != "none":  # normalised, and nothing behind it to carry a factor
        units += writes
    if layer.param("scale") is None and layer.norm == "none" and elementwise and layer.reads:  # only an offset
        units += reads + writes
    return units


def _without_sign(layer: LayerSpec, reads: list[int], writes: list[int]) -> list[int]:
    """Return the units that a layer reads or writes and that can have no sign of their own because of it."""
    elementwise = layer.param("kernel") is None
    together = layer.norm in ("layer", "group")
    units = reads if elementwise and together else []
    if layer.param("scale") is None and ((elementwise and layer.reads) or together):
        units = reads + writes
    return units


def _mixed_reads(spec: TargetSpec) -> list[tuple[Place, ...]]:
    """Return what is read by kernels that are rows of one parameter, but read different units."""
    first: dict[str, tuple[Place, ...]] = {}
    mixed = []
    for layer in spec.layers:
        source = layer.param("kernel")
        if source is not None and first.setdefault(source.parameter, layer.reads) != layer.reads:
            mixed += [first[source.parameter], layer.reads]
    return mixed


def _layer_axes(layer: LayerSpec, labels: _Labels) -> list[Axis]:
    """Label the axes of a layer's parameters.

    What a kernel writes has labels of its own where a normalisation or a learnt factor is between it and the units;
    scale and shift write the units' labels then, and a scale reads what it stands behind.
    """
    outputs = labels.of_entries(labels.of(layer.writes) or [FROZEN] * layer.filters)
    scale, kernel = layer.param("scale"), layer.param("kernel")
    between = kernel is not None and (layer.norm != "none" or scale is not None)
    inner = _inside(layer, labels, outputs) if between else outputs
    axes = []
    for param in layer.params:
        if layer.writes or between:
            written = inner if param.role in ("kernel", "bias") else outputs
            axes.append(_axis(param, "o", written, 1, layer.groups if param.inputs_first else 1))
        if param.role == "kernel" and layer.reads:
            axes.append(_reading_axis(layer, param, labels))
        if param.role == "scale" and (between or layer.reads):
            read = inner if between else labels.of_entries(labels.of(layer.reads))
            axes.append(_axis(param, "o", read if layer.norm == "none" else read.without_factors(), -1))
    return axes


def _inside(layer: LayerSpec, labels: _Labels, outputs: _Entries) -> _Entries:
    """Label what a kernel writes before a normalisation or a learnt factor: with its own, unless they are common."""
    own = tuple(labels.own(layer)) if layer.norm in ("none", "batch") else (FROZEN,) * layer.filters
    return outputs._replace(scaling=own, sign=own if layer.param("scale") is not None else outputs.sign)


def _axis(param: Param, letter: str, entries: _Entries, exponent: int, groups: int = 1) -> Axis:
    """Make an axis of a parameter, by its letter; entries outside of the parameter's rows are `FROZEN`."""
    dim = param.letters.index(letter)
    if param.rows is not None and letter == "o":
        before, after = (FROZEN,) * param.rows[0], (FROZEN,) * (param.known_shape[dim] - param.rows[1])
        entries = _Entries(*(before + labels + after for labels in entries))
    return Axis(parameter=param.parameter, dim=dim, exponent=exponent, groups=groups, **entries._asdict())


def _reading_axis(layer: LayerSpec, param: Param, labels: _Labels) -> Axis:
    """Make the axis on which a kernel reads; behind a flatten each unit stands for a run of neighbouring inputs."""
    reads = labels.of(layer.reads)
    if (_is_depthwise(layer, reads) or "i" not in param.letters) and not param.inputs_first:
        entries = labels.of_entries(reads)
        # A BatchNorm behind a depthwise kernel takes each filter's factor away.
        return _axis(param, "o", entries.without_factors() if layer.norm == "batch" else entries, -1)
    groups = 1 if param.inputs_first else layer.groups
    positions = param.known_shape[param.letters.index("i")] * groups // len(reads)
    return _axis(param, "i", labels.of_entries(unit for unit in reads for _ in range(positions)), -1, groups)


def _classes(spec: TargetSpec, labels: _Labels) -> tuple[tuple[int, ...], ...]:
    """Return labels that may be exchanged: of one unit space, their units read and written in the same order."""
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
