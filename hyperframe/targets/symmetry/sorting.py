"""Units that may change places, brought into an order: the walk over the layers, and the lexicographic order."""

from collections.abc import Callable

import torch
from torch import Tensor

from hyperframe.targets.spec import LayerSpec
from hyperframe.targets.symmetry.orbits import Orbits, permute
from hyperframe.targets.symmetry.structure import FROZEN
from hyperframe.targets.weights import batch_size
from hyperframe.types import Weights

ROUNDING = 64
"""Values that differ by fewer rounding errors of the largest one are equal."""

Place = Callable[[tuple[int, ...], Tensor], Tensor]
"""For a class of labels and what writes each of them [batch, labels, columns]: which label comes first, second, …, as
numbers within the class [batch, labels]."""


class UnitWalk:
    """Goes through the layers in execution order and lets a function place the units of each class.

    A class is placed at the layer that first writes it, by the filters that write it there: what a filter reads of
    units that have their place already stands in the new order, what it reads of others counts as zero, and so the
    result does not depend on the order in which the units stood before.

    Args:
        orbits: the target's symmetries.
    """

    def __init__(self, orbits: Orbits) -> None:
        self._structure = orbits.structure
        self._plan = _plan(orbits)

    def sources(self, weights: Weights, place: Place) -> Tensor:
        """Find for each network and label the label whose place it takes, as in an `Action` of `symmetry.orbits`.

        Args:
            weights: for each layer [batch, filters, filter_size].
            place: is called once for each class.

        Returns:
            int64 [batch, highest label + 1], on the CPU.
        """
        structure = self._structure
        sources = torch.arange(structure.highest("permutation") + 1).repeat(batch_size(weights), 1)
        seen = {layer: theta.detach() for layer, theta in weights.items()}
        placed = torch.zeros(sources.shape[1], dtype=torch.bool)
        for layer, classes in self._plan:
            current = permute(structure, sources, seen, [layer.name])[layer.name]
            reads = structure.grid(layer, [param.role for param in layer.params], "permutation", -1)
            loose = (reads != FROZEN) & ~placed[reads.clamp(min=0)]
            current = current.masked_fill(loose.to(current.device), 0.0)
            writes = structure.grid(layer, [param.role for param in layer.params], "permutation", 1).amax(1)
            for members in classes:
                labels = torch.tensor(members)
                rows = torch.stack([(writes == label).nonzero()[:, 0] for label in members])
                sources[:, labels] = labels[place(members, current[:, rows].flatten(2)).cpu()]
                placed[labels] = True
        return sources

    def permute(self, weights: Weights, sources: Tensor) -> Weights:
        """Put units in the places that `sources` gave, differentiably in the weights."""
        return permute(self._structure, sources, dict(weights), self._structure.spec.layer_names)


class Sorting:
    """Brings the units of each class into lexicographic order of the filters that first write them.

    Units with equal filters stand in the order of the sums, and of the summed squares, of what else each layer has of
    them, in execution order. Values that differ by rounding only are equal.

    Args:
        orbits: the target's symmetries.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    def __init__(self, orbits: Orbits) -> None:
        self._structure = orbits.structure
        self._walk = UnitWalk(orbits)

    def __call__(self, weights: Weights) -> Weights:
        """Sort the units of weights."""
        seen = {layer: theta.detach() for layer, theta in weights.items()}

        def place(members: tuple[int, ...], keys: Tensor) -> Tensor:
            order = lexicographic(keys)
            return lexicographic(torch.cat([keys, self._sums(seen, members)], 2)) if _tied(keys, order) else order

        return self._walk.permute(weights, self._walk.sources(weights, place))

    def _sums(self, weights: Weights, members: tuple[int, ...]) -> Tensor:
        """Return sums and summed squares of what layers read and write each label with [batch, labels, columns].

        They do not depend on the order of other units.
        """
        structure = self._structure
        columns = []
        for layer in structure.spec.layers:
            for exponent in (1, -1):
                labels = structure.grid(layer, [param.role for param in layer.params], "permutation", exponent)
                if bool((labels == members[0]).any()):
                    theta, labels = weights[layer.name], labels.to(weights[layer.name].device)
                    own = [(labels == label) for label in members]
                    columns += [
                        torch.stack([(of * chosen).sum((1, 2)) for chosen in own], 1) for of in (theta, theta**2)
                    ]
        return torch.stack(columns, 2)


def _tied(keys: Tensor, order: Tensor) -> bool:
    """Whether two rows [batch, rows, columns] are equal, when in their order [batch, rows]."""
    ordered = keys.take_along_dim(order[:, :, None], 1)
    return bool((ordered.diff(dim=1).abs() <= rounding_of(keys)[:, None, None]).all(2).any())


def _plan(orbits: Orbits) -> list[tuple[LayerSpec, list[tuple[int, ...]]]]:
    """List the layers that are the first to write a class, in execution order, with these classes."""
    waiting = {label: members for members in orbits.permutations for label in members}
    plan = []
    for layer in orbits.structure.spec.layers:
        writes = orbits.structure.grid(layer, [param.role for param in layer.params], "permutation", 1)
        found = dict.fromkeys(waiting[label] for label in torch.unique(writes).tolist() if label in waiting)
        if found:
            plan.append((layer, list(found)))
            waiting = {label: members for label, members in waiting.items() if members not in found}
    return plan


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
