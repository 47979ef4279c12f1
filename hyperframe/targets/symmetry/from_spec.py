"""Written specs compiled to labels on the axes of parameters."""

from collections.abc import Iterable

from hyperframe.targets.params import Param
from hyperframe.targets.spec import LayerSpec, Place, Slice, TargetSpec
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure


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

    def own(self, layer: LayerSpec) -> list[int]:
        """Labels, which no unit has, for what a layer's kernel writes before a normalisation or a learnt factor."""
        first = len(self.parent) + sum(one.filters for one in self.spec.layers[: self.spec.layers.index(layer)])
        return list(range(first, first + layer.filters))

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
        return tuple(FROZEN if label == FROZEN or self.root(label) in frozen else self.root(label) for label in labels)


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
    scaled = {label for unit in spec.units if unit.homogeneous for label in labels.of([unit.name])}
    signed = {label for unit in spec.units if unit.odd for label in labels.of([unit.name])}
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
        signed.difference_update(_without_sign(layer, reads, writes))
    for mixed in _mixed_reads(spec):
        labels.frozen.update(labels.of(mixed))
        scaled.difference_update(labels.of(mixed))
        signed.difference_update(labels.of(mixed))
    # Layers that share a parameter's rows read with the same axis, which counts once.
    axes = dict.fromkeys(axis for layer in spec.layers for axis in _layer_axes(spec, layer, labels, scaled, signed))
    shifts = [layer.name for layer in spec.layers if layer.norm == "batch" and {"kernel", "bias"} <= set(layer.columns)]
    return Structure(
        spec=spec,
        axes=tuple(axes),
        classes=_classes(spec, labels),
        absorbed=_absorbed(spec, labels, tuple(axes)),
        shifts=tuple(shifts),
    )


def _absorbed(spec: TargetSpec, labels: _Labels, axes: tuple[Axis, ...]) -> frozenset[int]:
    """Labels of what is read by a normalisation over the batch, and by nothing that makes up for factors."""
    normalised: set[int] = set()
    for layer in spec.layers:
        if layer.norm == "batch":
            reads = labels.of(layer.reads)
            normalised.update(labels.own(layer) if layer.param("kernel") is not None else reads)
            normalised.update(reads if _depthwise(layer, reads) else ())
    read = {label for axis in axes if axis.exponent == -1 for label in axis.scaling}
    return frozenset(normalised - read)


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


def _without_sign(layer: LayerSpec, reads: list[int], writes: list[int]) -> list[int]:
    """The units that a layer reads or writes and that can have no sign of their own because of it."""
    elementwise = layer.param("kernel") is None
    together = layer.norm in ("layer", "group")
    units = reads if elementwise and together else []
    if layer.param("scale") is None and ((elementwise and layer.reads) or together):
        units = reads + writes
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


def _layer_axes(spec: TargetSpec, layer: LayerSpec, labels: _Labels, scaled: set[int], signed: set[int]) -> list[Axis]:
    reads, writes = labels.of(layer.reads), labels.of(layer.writes)
    kernel, scale = layer.param("kernel"), layer.param("scale")
    # What a kernel writes, where something stands between it and the units: labels of its own, unless they are common.
    own = labels.own(layer) if layer.norm in ("none", "batch") else [FROZEN] * layer.filters
    behind = kernel is not None and (layer.norm != "none" or scale is not None)
    units = [unit if unit in scaled else FROZEN for unit in writes] or [FROZEN] * layer.filters
    signs = [unit if unit in signed else FROZEN for unit in writes] or [FROZEN] * layer.filters
    inner_signs = own if scale is not None else signs
    axes = []
    for param in layer.params:
        dim = param.letters.index("o")
        if writes or behind:
            carrier = param.role in ("scale", "shift") or not behind
            groups = layer.groups if param.inputs_first else 1
            written = (units, signs) if carrier else (own, inner_signs)
            axes.append(_axis(param, dim, writes or [FROZEN] * layer.filters, labels, written, 1, groups))
        if param.role == "kernel" and reads:
            axes.append(_reading_axis(layer, param, reads, labels, scaled, signed))
        if param.role == "scale" and behind:
            factors = own if layer.norm == "none" else [FROZEN] * layer.filters
            axes.append(_axis(param, dim, writes or [FROZEN] * layer.filters, labels, (factors, own), -1))
        elif param.role == "scale" and reads:
            factors = [unit if unit in scaled and layer.norm == "none" else FROZEN for unit in reads]
            axes.append(_axis(param, dim, reads, labels, (factors, [u if u in signed else FROZEN for u in reads]), -1))
    return axes


def _axis(
    param: Param,
    dim: int,
    units: list[int],
    labels: _Labels,
    written: tuple[list[int], list[int]],
    exponent: int,
    groups: int = 1,
) -> Axis:
    """An axis of a parameter, with the factors and signs of its entries; `FROZEN` outside of its rows."""
    fields = [labels.roots(units), *map(tuple, written)]
    if param.rows is not None and dim == param.letters.index("o"):
        before = (FROZEN,) * param.rows[0]
        after = (FROZEN,) * (param.known_shape[dim] - param.rows[1])
        fields = [before + field + after for field in fields]
    permutation, scaling, sign = fields
    return Axis(
        parameter=param.parameter,
        dim=dim,
        permutation=permutation,
        scaling=scaling,
        sign=sign,
        exponent=exponent,
        groups=groups,
    )


def _reading_axis(
    layer: LayerSpec, param: Param, reads: list[int], labels: _Labels, scaled: set[int], signed: set[int]
) -> Axis:
    """The axis on which a kernel reads; behind a flatten each unit stands for a run of neighbouring inputs."""
    depthwise = (_depthwise(layer, reads) or "i" not in param.letters) and not param.inputs_first
    dim, groups, spread = param.letters.index("o"), 1, reads
    if not depthwise:
        dim = param.letters.index("i")
        groups = 1 if param.inputs_first else layer.groups
        positions = param.known_shape[dim] * groups // len(reads)
        spread = [unit for unit in reads for _ in range(positions)]
    # A BatchNorm behind a depthwise kernel takes each filter's factor away.
    needless = depthwise and layer.norm == "batch"
    factors = [unit if unit in scaled and not needless else FROZEN for unit in spread]
    signs = [unit if unit in signed else FROZEN for unit in spread]
    return _axis(param, dim, spread, labels, (factors, signs), -1, groups)


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
