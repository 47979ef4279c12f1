"""Units that may change places, brought into an order: the walk over the layers, and the lexicographic order."""

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

import attrs
import torch
from torch import Tensor

from hyperframe.targets.symmetry.orbits import Orbits, permute
from hyperframe.targets.symmetry.structure import FROZEN, Structure
from hyperframe.targets.weights import batch_size
from hyperframe.types import Weights

ROUNDING = 64
"""Values that differ by fewer rounding errors of the largest one are equal."""

Block = tuple[int, ...]


class Placing(Protocol):
    """Decides which unit comes first, second, … of those that may change places."""

    def units(self, members: tuple[int, ...], keys: Tensor) -> Tensor:
        """Place the units of a class: as numbers within the class, [batch, labels].

        Args:
            members: their labels.
            keys: what writes each of them [batch, labels, columns].
        """
        ...

    def blocks(self, blocks: tuple[Block, ...], keys: list[Tensor]) -> Tensor:
        """Place blocks, whatever the order in which units of one class stand in them: as numbers, [batch, blocks].

        Args:
            blocks: their labels.
            keys: for each set of units that may change places within a block, often of one, what writes them
                [batch, blocks, units, columns].
        """
        ...


class UnitWalk:
    """Goes through the layers in execution order and has the units of each class placed, and blocks of units.

    Both are placed at the layer that first writes them, by the filters that write them there, blocks before the units
    in them: what a filter reads of units that have their place already stands in the new order, what it reads of others
    counts as zero, and so the result does not depend on the order in which the units stood before.

    Args:
        orbits: the target's symmetries.
    """

    def __init__(self, orbits: Orbits) -> None:
        self._structure = orbits.structure
        self._plan = _plan(orbits)

    def sources(self, weights: Weights, placing: Placing) -> Tensor:
        """Find for each network and label the label whose place it takes, as in an `Action` of `symmetry.orbits`.

        Args:
            weights: for each layer [batch, filters, filter_size].
            placing: is asked once for each class and each set of blocks.

        Returns:
            int64 [batch, highest label + 1], on the CPU.
        """
        sources = torch.arange(self._structure.highest("permutation") + 1).repeat(batch_size(weights), 1)
        seen = {layer: theta.detach() for layer, theta in weights.items()}
        placed = torch.zeros(sources.shape[1], dtype=torch.bool)

        def filters_of(stop: _Stop) -> _Filters:
            return _Filters(stop, permute(self._structure, sources, seen, [stop.layer])[stop.layer], placed)

        for stop in self._plan:
            filters = filters_of(stop)
            for blocks, groups in stop.sets:
                order = placing.blocks(blocks, [filters.of(group) for group in groups]).cpu()
                labels = torch.tensor(blocks)
                sources[:, labels] = sources[:, labels].take_along_dim(order[:, :, None], 1)
            if stop.sets:
                filters = filters_of(stop)
            for members in stop.classes:
                order = placing.units(members, filters.of([members])[:, 0]).cpu()
                labels = torch.tensor(members)
                sources[:, labels] = sources[:, labels].gather(1, order)
            placed[stop.placed] = True
        return sources

    def permute(self, weights: Weights, sources: Tensor) -> Weights:
        """Put units in the places that `sources` gave, differentiably in the weights."""
        return permute(self._structure, sources, dict(weights), self._structure.spec.layer_names)


class _Filters:
    """A layer's filters, with the units so far in their places, of what it reads of the others zero.

    Args:
        stop: of the layer.
        current: its filters [batch, filters, filter_size], with units in their places.
        placed: which labels have their place.
    """

    def __init__(self, stop: "_Stop", current: Tensor, placed: Tensor) -> None:
        loose = (stop.reads != FROZEN) & ~placed[stop.reads.clamp(min=0)]
        self._current = current.masked_fill(loose.to(current.device), 0.0)
        self._rows = stop.rows

    def of(self, sets: Sequence[Sequence[int]]) -> Tensor:
        """Return what writes each label of some sets of one size: [batch, sets, labels, columns]."""
        rows = torch.stack([torch.stack([self._rows[label] for label in own]) for own in sets])
        return self._current[:, rows].flatten(3)


class Sorting:
    """Brings the units of each class into lexicographic order of the filters that first write them.

    Units with equal filters stand in the order of the sums, and of the summed squares, of what else each layer has of
    them, in execution order. Values that differ by rounding only are equal. Blocks, such as heads of attention, are
    sorted likewise, by the filters of all their units in order.

    Args:
        orbits: the target's symmetries.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    def __init__(self, orbits: Orbits) -> None:
        self._structure = orbits.structure
        self._walk = UnitWalk(orbits)

    def __call__(self, weights: Weights) -> Weights:
        """Sort the units of weights."""
        return self._walk.permute(weights, self._walk.sources(weights, _Order(self._structure, weights)))


class _Order:
    """Places units in lexicographic order, for some weights."""

    def __init__(self, structure: Structure, weights: Weights) -> None:
        self._structure = structure
        self._weights = {layer: theta.detach() for layer, theta in weights.items()}

    def units(self, members: tuple[int, ...], keys: Tensor) -> Tensor:
        """Sort the units of a class."""
        return self._sort(keys, [(label,) for label in members])

    def blocks(self, blocks: tuple[Block, ...], keys: list[Tensor]) -> Tensor:
        """Sort blocks by their units in order."""
        columns = []
        for group in keys:
            inner = lexicographic(group.flatten(0, 1)).view(group.shape[:3])
            columns.append(group.take_along_dim(inner[..., None], 2).flatten(2))
        return self._sort(torch.cat(columns, 2), blocks)

    def _sort(self, keys: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
        order = lexicographic(keys)
        return lexicographic(torch.cat([keys, self._sums(sets)], 2)) if _tied(keys, order) else order

    def _sums(self, sets: Sequence[Sequence[int]]) -> Tensor:
        """Return sums and summed squares of what layers read and write each set of labels with [batch, sets, columns].

        They do not depend on the order of other units.
        """
        structure = self._structure
        columns = []
        for layer in structure.spec.layers:
            for exponent in (1, -1):
                labels = structure.grid(layer, [param.role for param in layer.params], "permutation", exponent)
                if bool(torch.isin(labels, torch.tensor(sets[0])).any()):
                    theta = self._weights[layer.name]
                    own = [torch.isin(labels, torch.tensor(some)).to(theta.device) for some in sets]
                    columns += [
                        torch.stack([(of * chosen).sum((1, 2)) for chosen in own], 1) for of in (theta, theta**2)
                    ]
        return torch.stack(columns, 2)


def _tied(keys: Tensor, order: Tensor) -> bool:
    """Whether two rows [batch, rows, columns] are equal, when in their order [batch, rows]."""
    ordered = keys.take_along_dim(order[:, :, None], 1)
    return bool((ordered.diff(dim=1).abs() <= rounding_of(keys)[:, None, None]).all(2).any())


@attrs.frozen(eq=False)
class _Stop:
    """A layer that is the first to write classes of units or blocks.

    Attributes:
        layer: its name.
        reads: labels of units that its weights read, [filters or 1, columns or 1].
        rows: for each label that it writes the filters that do so.
        classes: those that are placed here.
        sets: blocks that are placed here; with each set those sets of labels of every block that may change places
            within it and are written here.
        placed: all labels that have their place after it and had none before.
    """

    layer: str
    reads: Tensor
    rows: dict[int, Tensor]
    classes: list[tuple[int, ...]]
    sets: list[tuple[tuple[Block, ...], list[list[tuple[int, ...]]]]]
    placed: list[int]


def _plan(orbits: Orbits) -> list[_Stop]:
    """List the layers that are the first to write classes or blocks, in execution order."""
    class_of = {label: members for members in orbits.permutations for label in members}
    waiting, apart, plan = dict(class_of), list(orbits.structure.blocks), []
    for layer in orbits.structure.spec.layers:
        roles = [param.role for param in layer.params]
        rows = _rows(orbits.structure.grid(layer, roles, "permutation", 1).amax(1))
        written = set(rows) - {FROZEN}
        found = dict.fromkeys(waiting[label] for label in sorted(written) if label in waiting)
        sets = [blocks for blocks in apart if written & set(blocks[0])]
        if found or sets:
            alone = [label for blocks in sets for block in blocks for label in block if label not in class_of]
            plan.append(
                _Stop(
                    layer=layer.name,
                    reads=orbits.structure.grid(layer, roles, "permutation", -1),
                    rows=rows,
                    classes=list(found),
                    sets=[(blocks, groups_of(blocks, written, class_of)) for blocks in sets],
                    placed=[*(label for members in found for label in members), *alone],
                )
            )
            waiting = {label: members for label, members in waiting.items() if members not in found}
            apart = [blocks for blocks in apart if blocks not in sets]
    return plan


def _rows(labels: Tensor) -> dict[int, Tensor]:
    """Return for each label the places where it stands, in order."""
    order = labels.argsort(stable=True)
    found, counts = torch.unique_consecutive(labels[order], return_counts=True)
    return dict(zip(found.tolist(), order.split(counts.tolist()), strict=True))


def groups_of(
    blocks: tuple[Block, ...], written: Container[int], class_of: Mapping[int, tuple[int, ...]]
) -> list[list[tuple[int, ...]]]:
    """Return sets of labels that may change places within a block, of those that are written: one a block.

    Args:
        blocks: their labels.
        written: those that are wanted.
        class_of: for each label that may change places with others these and itself.

    Example:
        >>> groups_of(((0, 1, 2), (3, 4, 5)), {0, 1, 2}, {0: (0, 1), 1: (0, 1), 3: (3, 4), 4: (3, 4)})
        [[(0, 1), (3, 4)], [(2,), (5,)]]
    """
    groups: list[list[tuple[int, ...]]] = []
    places = {label: place for place, label in enumerate(blocks[0])}
    seen: set[int] = set()
    for label in blocks[0]:
        if label not in seen and label in written:
            members = class_of.get(label, (label,))
            seen.update(members)
            groups.append([tuple(block[places[member]] for member in members) for block in blocks])
    return groups


def rounding_of(keys: Tensor) -> Tensor:
    """Return by how much values of rows [batch, rows, columns] can differ and still count as equal: [batch]."""
    return ROUNDING * torch.finfo(keys.dtype).eps * keys.abs().amax((1, 2))


def lexicographic(keys: Tensor) -> Tensor:
    """Order rows [batch, rows, columns] by their first column, ties by the next, and so on: [batch, rows].

    Example:
        >>> lexicographic(torch.tensor([[[1.0, 2.0], [0.0, 5.0], [1.0, 1.0]]])).tolist()
        [[1, 2, 0]]
    """
    rounding = rounding_of(keys)[:, None]
    group = torch.zeros(keys.shape[:2], dtype=torch.int64, device=keys.device)
    order = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape[:2])
    for column in range(keys.shape[2]):
        values = keys[:, :, column]
        within = values.argsort(dim=1, stable=True)
        order = within.gather(1, group.gather(1, within).argsort(dim=1, stable=True))
        sorted_values, sorted_groups = values.gather(1, order), group.gather(1, order)
        new = (sorted_values.diff(dim=1) > rounding) | (sorted_groups.diff(dim=1) != 0)
        ranks = torch.cat([torch.zeros_like(group[:, :1]), new.cumsum(1)], 1)
        group = torch.empty_like(group).scatter(1, order, ranks)
        if bool(new.all()):
            break
    return order
