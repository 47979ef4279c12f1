"""Factors or signs on labels, laid out for walks over the layers, on which gauges work."""

from collections.abc import Callable
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Role
from hyperframe.targets.spec import LayerSpec
from hyperframe.targets.symmetry.structure import FROZEN, Structure
from hyperframe.types import Weights

STAGES: tuple[tuple[Role, ...], ...] = (("kernel", "bias"), ("scale", "shift"))
"""The parts of a layer in the order in which they act."""


@attrs.frozen(kw_only=True, eq=False)
class Stage:
    """A layer's kernel and bias, or its scale and shift, laid out like its weights; number `count` means the factor 1.

    Attributes:
        layer: its name.
        columns: those of the stage, int64; None where they are all that the layer has.
        reads: numbers of labels that divide, each tensor broadcastable to [filters, columns]: none, one, or as many as
            an entry has labels.
        writes: numbers of labels that multiply, likewise.
        anchors: filters that carry labels for the first time; several may carry one, such as those of a group that is
            normalised together.
        segments: for each of them the place of its label in `anchored`; None where each has a label of its own.
        anchored: those labels' numbers.
        carrier: those of the stage's columns that carry the label, int64 (a mask would make a CUDA device wait).
    """

    layer: str
    columns: Tensor | None
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    anchors: Tensor
    segments: Tensor | None
    anchored: Tensor
    carrier: Tensor

    def to(self, device: torch.device | str) -> "Stage":
        """The same with its tensors on a device."""
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device)
            for field in attrs.fields(Stage)
            if isinstance(getattr(self, field.name), Tensor)
        }
        for name in ("reads", "writes"):
            moved[name] = tuple(grid.to(device) for grid in getattr(self, name))
        return attrs.evolve(self, **moved)

    def multiply(self, theta: Tensor, factors: Tensor) -> Tensor:
        """Multiply its columns [batch, filters, columns] by the factors [batch, labels + 1] of what they write."""
        for grid in self.writes:
            theta = theta * factors[:, grid]
        return theta

    def divide(self, theta: Tensor, factors: Tensor) -> Tensor:
        """Divide its columns [batch, filters, columns] by the factors [batch, labels + 1] of what they read."""
        for grid in self.reads:
            theta = theta / factors[:, grid]
        return theta


@attrs.frozen(kw_only=True, eq=False)
class LabelOrbit:
    """Labels of one kind: positive factors, or signs, that writers multiply and readers divide by.

    Attributes:
        labels: the structure's labels, in the order in which layers first write them.
        stages: each layer's parts, in execution order.
    """

    labels: Tensor
    stages: tuple[Stage, ...]

    @property
    def count(self) -> int:
        """The number of free factors or signs."""
        return len(self.labels)

    def to(self, device: torch.device | str) -> "LabelOrbit":
        """The same with its tensors on a device."""
        return LabelOrbit(labels=self.labels.to(device), stages=tuple(stage.to(device) for stage in self.stages))


def label_orbit(
    structure: Structure, kind: Literal["scaling", "sign"], select: Callable[[int], bool], carriers: tuple[Role, ...]
) -> LabelOrbit:
    """Lay out the labels of a kind that are selected.

    Args:
        structure: the target's labels.
        kind: which labels.
        select: whether a label takes part.
        carriers: what of a layer's kernel and bias carries a label. A scale and shift do so together, and for signs the
            shift alone: the scale's own sign may be that of `norm_sign`.
    """
    numbering = _Numbering(structure, kind, select, carriers)
    drafts = [
        draft
        for layer in structure.spec.layers
        for roles in STAGES
        if any(param.role in roles for param in layer.params)
        for draft in numbering.draft(layer, roles)
    ]
    numbers = numbering.numbers
    grids = [grid for draft in drafts for grid in (*draft.reads, *draft.writes)]
    rest = {int(label) for grid in grids for label in torch.unique(grid)}
    for label in sorted(rest - {FROZEN, *numbers}):  # known, but with nothing to be fixed by
        numbers[label] = len(numbers)
    lookup = torch.full((max(numbers, default=-1) + 2,), len(numbers))
    for label, number in numbers.items():
        lookup[label] = number
    stages = tuple(draft.finish(numbers, lookup) for draft in drafts)
    used = tuple(stage for stage in stages if stage.reads or stage.writes or len(stage.anchors))
    return LabelOrbit(labels=torch.tensor(list(numbers), dtype=torch.int64), stages=used)


@attrs.define
class _Draft:
    """A stage whose grids hold labels, since not all of these are numbered yet.

    Attributes:
        layer: of which it is a part.
        columns: those of the stage.
        reads: labels that divide.
        writes: labels that multiply.
        anchored: for each filter the label that it carries for the first time, or `FROZEN`; empty if there are none.
        carrier: those of the columns that carry it.
    """

    layer: LayerSpec
    columns: Tensor
    reads: list[Tensor]
    writes: list[Tensor]
    anchored: list[int]
    carrier: Tensor

    def finish(self, numbers: dict[int, int], lookup: Tensor) -> Stage:
        """Make the stage, with the labels' numbers: by label, and as a tensor in which `FROZEN` finds the last."""
        fresh = [row for row, label in enumerate(self.anchored) if label != FROZEN]
        anchored = list(dict.fromkeys(self.anchored[row] for row in fresh))
        segments = [anchored.index(self.anchored[row]) for row in fresh] if len(fresh) > len(anchored) else None
        return Stage(
            layer=self.layer.name,
            columns=None if len(self.columns) == self.layer.filter_size else self.columns,
            reads=_squeeze([lookup[grid] for grid in self.reads], len(numbers)),
            writes=_squeeze([lookup[grid] for grid in self.writes], len(numbers)),
            anchors=torch.tensor(fresh, dtype=torch.int64),
            segments=None if segments is None else torch.tensor(segments),
            anchored=torch.tensor([numbers[label] for label in anchored], dtype=torch.int64),
            carrier=self.carrier,
        )


@attrs.define
class _Numbering:
    """Lays out the parts of layers in order, and numbers labels as they turn up; arguments as for `label_orbit`.

    Attributes:
        numbers: of the labels so far.
    """

    structure: Structure
    kind: Literal["scaling", "sign"]
    select: Callable[[int], bool]
    carriers: tuple[Role, ...]
    numbers: dict[int, int] = attrs.field(factory=dict)

    def draft(self, layer: LayerSpec, roles: tuple[Role, ...]) -> list[_Draft]:
        """Lay out a part of a layer, and number the labels that it carries for the first time.

        It takes several stages where columns carry different labels: all are found before any is multiplied.
        """
        columns = _columns(layer, roles)
        writes, reads = (
            [_select(grid, self.select) for grid in self.structure.grids(layer, roles, self.kind, exponent)]
            for exponent in (1, -1)
        )
        bias = layer.name not in self.structure.shifts  # else it says nothing
        carrier = _carrier(layer, roles, self.kind, self.carriers if bias else ("kernel",))
        # A sum of what is scaled differently has no sign of its own.
        scaled = self.structure.grids(layer, roles, "scaling", 1) if self.kind == "sign" else []
        drafts: list[_Draft] = []
        while True:
            known = set(self.numbers)
            labels, carried = _find_anchors(writes, scaled, carrier, (layer.filters, len(columns)), known)
            fresh = dict.fromkeys(label for label in labels if label != FROZEN)
            if drafts and not fresh:
                break
            self.numbers.update({label: len(known) + place for place, label in enumerate(fresh)})
            drafts.append(_Draft(layer, columns, [], [], labels, carried))
        drafts[0].reads, drafts[-1].writes = reads, writes
        return drafts


def _find_anchors(
    writes: list[Tensor], scaled: list[Tensor], carrier: Tensor, shape: tuple[int, int], known: set[int]
) -> tuple[list[int], Tensor]:
    """Find for each filter the first new label that it has alone, or `FROZEN`, and all carriers that have it alone."""
    single = writes[0]
    for grid in writes[1:]:
        single = torch.where(grid == FROZEN, single, FROZEN)
    single = single.expand(shape[0], single.shape[1])
    carried = single.expand(shape)[:, carrier] if single.shape[1] > 1 else single[:, : min(1, len(carrier))]
    fresh = (carried != FROZEN) & ~torch.isin(carried, torch.tensor(sorted(known), dtype=torch.int64))
    if not bool(fresh.any()):
        return [], carrier
    first = int(fresh.any(0).int().argmax())
    labels = torch.where(fresh[:, first], carried[:, first], FROZEN)
    if single.shape[1] > 1 or any(grid.shape[1] > 1 for grid in scaled):
        rows = labels != FROZEN
        carrier = carrier[(carried[rows] == labels[rows, None]).all(0) & _alike(scaled, carrier, first)]
    return labels.tolist(), carrier


def _alike(grids: list[Tensor], columns: Tensor, first: int) -> Tensor:
    """Return which of some columns have the labels of one of them."""
    same = torch.ones(len(columns), dtype=torch.bool)
    for grid in grids:
        if grid.shape[1] > 1:
            same &= (grid[:, columns] == grid[:, columns[first : first + 1]]).all(0)
    return same


def _columns(layer: LayerSpec, roles: tuple[Role, ...]) -> Tensor:
    """Return the columns of these roles, in the order of the layer's parameters."""
    places = [layer.columns[param.role] for param in layer.params if param.role in roles]
    return torch.cat([torch.arange(place.start, place.stop) for place in places] or [torch.zeros(0)]).long()


def _carrier(layer: LayerSpec, roles: tuple[Role, ...], kind: str, carriers: tuple[Role, ...]) -> Tensor:
    """Return which of a stage's columns carry a label."""
    wanted = carriers if "kernel" in roles and "kernel" in layer.columns else roles
    if "scale" in roles and kind == "sign" and layer.norm != "none":
        wanted = ("shift",)
    inside = [
        torch.full((param.entries(layer.groups),), param.role in wanted)
        for param in layer.params
        if param.role in roles
    ]
    return torch.cat(inside).nonzero()[:, 0]


def _select(grid: Tensor, select: Callable[[int], bool]) -> Tensor:
    """Freeze the labels that do not take part."""
    labels, places = torch.unique(grid, return_inverse=True)
    kept = torch.tensor([label if label != FROZEN and select(label) else FROZEN for label in labels.tolist()])
    return kept[places]


def _squeeze(grids: list[Tensor], neutral: int) -> tuple[Tensor, ...]:
    """Drop axes along which all numbers are equal, and grids that are neutral throughout."""
    for dim in (0, 1):
        grids = [grid.narrow(dim, 0, 1) if bool((grid == grid.narrow(dim, 0, 1)).all()) else grid for grid in grids]
    return tuple(grid for grid in grids if grid.numel() > 1 or int(grid) != neutral)


Factor = Callable[[Tensor, Tensor | None, int], Tensor]
"""Of carriers [batch, filters, entries], their segments and the number of labels it makes factors [batch, labels]."""


def propagate_factors(orbit: LabelOrbit, weights: Weights, factor: Factor) -> Weights:
    """Give every label the factor that its first carrier asks for, in one walk over the layers.

    Args:
        orbit: the labels.
        weights: for each layer [batch, filters, filter_size].
        factor: what it asks for.
    """
    first = next(iter(weights.values()))
    # One factor a label, and a last column of ones for entries without a label.
    factors = first.new_ones(len(first), orbit.count + 1)
    result = dict(weights)
    for stage in orbit.stages:
        theta = _columns_of(stage, result[stage.layer])
        theta = stage.divide(theta, factors)
        if len(stage.anchors):
            found = factor(carriers(stage, theta), stage.segments, len(stage.anchored))
            factors = factors.index_copy(1, stage.anchored, found)
        theta = stage.multiply(theta, factors)
        result[stage.layer] = _with_columns(stage, result[stage.layer], theta)
    return result


def apply_factors(orbit: LabelOrbit, weights: Weights, factors: Tensor) -> Weights:
    """Multiply by factors [batch, labels + 1] where labels are written, divide where they are read; the last is 1."""
    result = dict(weights)
    for stage in orbit.stages:
        theta = _columns_of(stage, result[stage.layer])
        theta = stage.multiply(stage.divide(theta, factors), factors)
        result[stage.layer] = _with_columns(stage, result[stage.layer], theta)
    return result


def norm_factors(carried: Tensor, segments: Tensor | None = None, labels: int = 0) -> Tensor:
    """Return factors [batch, labels] that give what carries a label the norm √n of its n entries; 1 where it is zero.

    Example:
        >>> norm_factors(torch.tensor([[[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]))
        tensor([[0.4000, 1.0000]])
    """
    # The largest entry is taken out first: squares neither overflow nor vanish.
    largest = carried.detach().abs().amax(2)
    entries: Tensor | int = carried.shape[2]
    if segments is not None:
        index = segments.expand_as(largest)
        entries = sum_by_label(torch.full_like(largest[:1], carried.shape[2]), segments, labels)
        largest = largest.new_zeros(len(largest), labels).scatter_reduce(1, index, largest, "amax")
    alive = largest > 0
    largest = torch.where(alive, largest, 1.0)
    each = largest if segments is None else largest[:, segments]
    squares = sum_by_label((carried / each[:, :, None]).square().sum(2), segments, labels)
    return torch.where(alive, (entries / torch.where(alive, squares, 1.0)).sqrt() / largest, 1.0)


def sum_by_label(values: Tensor, segments: Tensor | None, labels: int) -> Tensor:
    """Sum over the filters of each label: [batch, filters] give [batch, labels]."""
    return values if segments is None else values.new_zeros(len(values), labels).index_add(1, segments, values)


def carriers(stage: Stage, theta: Tensor) -> Tensor:
    """Take of a stage's columns theta what carries the labels that it writes first: [batch, filters, entries]."""
    if len(stage.anchors) < theta.shape[1]:
        theta = theta[:, stage.anchors]
    # Else they are all columns, in order.
    return theta[:, :, stage.carrier] if len(stage.carrier) < theta.shape[2] else theta


def _columns_of(stage: Stage, theta: Tensor) -> Tensor:
    return theta if stage.columns is None else theta.index_select(2, stage.columns)


def _with_columns(stage: Stage, theta: Tensor, part: Tensor) -> Tensor:
    return part if stage.columns is None else theta.index_copy(2, stage.columns, part)
