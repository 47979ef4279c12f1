"""Units that may change places, matched to those of a reference network by assignments."""

import torch
from torch import Tensor

from hyperframe.runtime.rng import stream
from hyperframe.targets.symmetry.descent import Descent, assign
from hyperframe.targets.symmetry.orbits import Orbits, permute
from hyperframe.targets.symmetry.sorting import Block, Sorting, UnitWalk, rounding_of
from hyperframe.types import Weights


class Matching:
    """Gives units those places in which all weights that write and read them agree most with a reference.

    `FilterMatching` places every unit by the filters that write it, in one pass; from there
    `hyperframe.targets.symmetry.descent.Descent` assigns class after class by all weights, until none changes. The
    distance to the reference is never larger than after the pass. It need not be the least of the orbit: which
    permutation of all classes together is best is not known to be found in less time than by trying all.

    The pass gives all permutations of one network one result, and so the descent, which begins there, does too: had it
    begun at the units as they stand, each of them would end at an optimum of its own. Weights that were near the
    reference stay where they are, and near weights mostly get near representatives, which a sorted order does not give
    them: there a first weight that passes that of another unit changes the places of both.

    Assignments are solved on the host, without a gradient; the result is differentiable in the weights.

    Args:
        orbits: the target's symmetries.
        reference: for each layer [1, filters, filter_size]; detached.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    def __init__(self, orbits: Orbits, reference: Weights) -> None:
        self._structure = orbits.structure
        self._sorted = Sorting(orbits)
        self._first = FilterMatching(orbits, reference)
        self._descent = Descent(orbits, reference)

    def __call__(self, weights: Weights) -> Weights:
        """Put the units of weights in the places of the reference's."""
        return self.of_sorted(self._sorted(weights))

    def of_sorted(self, weights: Weights) -> Weights:
        """Do so for weights that `Sorting` gave; for many references they are sorted once."""
        placed = self._first(weights)
        return permute(self._structure, self._descent.sources(placed), placed, self._structure.spec.layer_names)


class FilterMatching:
    """Gives every unit the place of that unit of a reference which is written by the most similar filter.

    The layers are walked in execution order (`hyperframe.targets.symmetry.sorting.UnitWalk`). At the layer that first
    writes a class the units are assigned to those of the reference, one to one, so that the sum of the inner products

        Σ_u ⟨θ_{π(u)}, ρ_u⟩

    of their filters θ with the reference's ρ is greatest, which makes the distance Σ_u ‖θ_{π(u)} − ρ_u‖² least. Later
    layers do not change what was decided.

    Blocks, such as heads of attention, are assigned before the units in them: two agree as much as their units do, each
    assigned to one of the other's.

    Units with equal filters keep the order that `Sorting` gave them, so that all permutations of one network give one
    result.

    Args:
        orbits: the target's symmetries.
        reference: for each layer [1, filters, filter_size]; detached.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    def __init__(self, orbits: Orbits, reference: Weights) -> None:
        self._walk = UnitWalk(orbits)
        noted = _Notes()
        self._walk.sources(reference, noted)
        self._assigned = _Assignment(noted)

    def __call__(self, weights: Weights) -> Weights:
        """Put the units of weights that `Sorting` gave in the places of the reference's."""
        return self._walk.permute(weights, self._walk.sources(weights, self._assigned))


class _Notes:
    """Leaves units and blocks where they are, and notes the filters that write them."""

    def __init__(self) -> None:
        self.of_units: dict[tuple[int, ...], Tensor] = {}
        self.of_blocks: dict[tuple[Block, ...], list[Tensor]] = {}

    def units(self, members: tuple[int, ...], keys: Tensor) -> Tensor:
        """Note the filters of a class."""
        self.of_units[members] = keys[0].double().cpu()
        return torch.arange(len(members)).expand(len(keys), -1)

    def blocks(self, blocks: tuple[Block, ...], keys: list[Tensor]) -> Tensor:
        """Note the filters of blocks."""
        self.of_blocks[blocks] = [group[0].double().cpu() for group in keys]
        return torch.arange(len(blocks)).expand(len(keys[0]), -1)


class _Assignment:
    """Places units, and blocks of them, so that their filters agree most with those that were noted."""

    def __init__(self, wanted: _Notes) -> None:
        self._wanted = wanted

    def units(self, members: tuple[int, ...], keys: Tensor) -> Tensor:
        """Assign the units of a class."""
        wanted, keys = self._wanted.of_units[members], keys.cpu()
        agreement = torch.einsum("pk,nuk->npu", wanted, keys.double())
        return _in_order(torch.stack([assign(one) for one in agreement]), _number_different(keys))

    def blocks(self, blocks: tuple[Block, ...], keys: list[Tensor]) -> Tensor:
        """Assign blocks: two agree as much as their units do, assigned to each other within them."""
        agreement = torch.zeros(len(keys[0]), len(blocks), len(blocks), dtype=torch.float64)
        for wanted, group in zip(self._wanted.of_blocks[blocks], keys, strict=True):
            each = torch.einsum("pik,nujk->npuij", wanted, group.double().cpu())
            best = [one[torch.arange(len(one)), assign(one)].sum() for one in each.flatten(0, 2)]
            agreement += torch.stack(best).view(agreement.shape)
        flat = torch.cat([group.flatten(2) for group in keys], 2).cpu()
        return _in_order(torch.stack([assign(one) for one in agreement]), _number_different(flat))


def _number_different(keys: Tensor) -> Tensor:
    """Number sorted rows [batch, rows, columns] so that equal ones have one number: [batch, rows]."""
    different = (keys.diff(dim=1).abs() > rounding_of(keys)[:, None, None]).any(2)
    return torch.cat([torch.zeros(len(keys), 1, dtype=torch.int64), different.cumsum(1)], 1)


def _in_order(found: Tensor, group: Tensor) -> Tensor:
    """Let what has the numbers of one group take the group's places in the order that it stands in."""
    places = group.gather(1, found).argsort(dim=1, stable=True)
    return torch.empty_like(found).scatter(1, places, torch.arange(found.shape[1]).expand_as(found))


def random_reference(orbits: Orbits) -> Weights:
    """Draw weights to match with where no network is given: normal numbers that depend on the target's sizes only."""
    rng = stream(0, "reference of a matching")
    return {
        layer.name: torch.randn(1, layer.filters, layer.filter_size, generator=rng, dtype=torch.float64)
        for layer in orbits.structure.spec.layers
    }
