"""Labels of factors or signs, laid out layer by layer for walks over them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Role
from hyperframe.targets.spec import LayerSpec
from hyperframe.targets.symmetry.structure import FROZEN, Structure

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

    def take(self, theta: Tensor) -> Tensor:
        """Take its columns of a layer's weights: [batch, filters, filter_size] give [batch, filters, columns]."""
        return theta if self.columns is None else theta.index_select(2, self.columns)

    def put(self, theta: Tensor, part: Tensor) -> Tensor:
        """Put `part` [batch, filters, columns] in the place of its columns of a layer's weights."""
        return part if self.columns is None else theta.index_copy(2, self.columns, part)

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

        It takes several stages where columns carry different labels: all are found before any is multiplied. A filter
        that is divided by what another filter of the layer carries first, as a key is by its query's factor, waits.
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
        own = {int(label) for grid in writes for label in torch.unique(grid)} - {FROZEN}
        shape = layer.filters, len(columns)
        drafts: list[_Draft] = []
        left = reads
        while True:
            known = set(self.numbers)
            waiting = own - known
            labels, carried = _find_anchors(_without_rows(writes, left, waiting), scaled, carrier, shape, known)
            fresh = dict.fromkeys(label for label in labels if label != FROZEN)
            now = [_select(grid, partial(_is_not_in, waiting)) for grid in left]
            left = [_select(grid, waiting.__contains__) for grid in left]
            if drafts and not fresh and not _any(now):
                break
            self.numbers.update({label: len(known) + place for place, label in enumerate(fresh)})
            drafts.append(_Draft(layer, columns, now, [], labels, carried))
        drafts[-1].reads += left
        drafts[-1].writes = writes
        return drafts


def _is_not_in(labels: set[int], label: int) -> bool:
    return label not in labels


def _any(grids: list[Tensor]) -> bool:
    """Whether a grid has a label."""
    return any(bool((grid != FROZEN).any()) for grid in grids)


def _without_rows(writes: list[Tensor], reads: list[Tensor], waiting: set[int]) -> list[Tensor]:
    """Leave out the labels of filters that are divided by labels which are waited for."""
    labels = torch.tensor(sorted(waiting), dtype=torch.int64)
    held = [torch.isin(grid, labels).any(1, keepdim=True) for grid in reads]
    rows = torch.stack(torch.broadcast_tensors(*held)).any(0)
    return [torch.where(rows, FROZEN, grid) for grid in writes] if bool(rows.any()) else writes


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
