"""Units that may change places, matched to those of a reference network by an assignment for each class."""

import torch
from torch import Tensor

from hyperframe.runtime.rng import stream
from hyperframe.targets.symmetry.orbits import Orbits
from hyperframe.targets.symmetry.sorting import Sorting, UnitWalk, rounding_of
from hyperframe.types import Weights


class Matching:
    """Gives every unit the place of that unit of a reference which is written by the most similar filter.

    The layers are walked in execution order (`hyperframe.targets.symmetry.sorting.UnitWalk`). At the layer that first
    writes a class the units are assigned to those of the reference, one to one, so that the sum of the inner products

        Σ_u ⟨θ_{π(u)}, ρ_u⟩

    of their filters θ with the reference's ρ is greatest, which makes the distance Σ_u ‖θ_{π(u)} − ρ_u‖² least
    (`scipy.optimize.linear_sum_assignment`). One pass does; later layers do not change what was decided. Weights that
    were near the reference stay where they are, and near weights mostly get near representatives, which a sorted order
    does not give them: there a first weight that passes that of another unit changes the places of both.

    Units are sorted first, and units with equal filters keep the order that they were sorted in, so that all
    permutations of one network give one result. The assignment is done by the host, without a gradient; the result is
    differentiable in the weights.

    Args:
        orbits: the target's symmetries.
        reference: for each layer [1, filters, filter_size]; detached.

    Shapes: each layer [batch, filters, filter_size], in and out.

    References: H. W. Kuhn (1955), The Hungarian Method for the Assignment Problem; S. Ainsworth, J. Hayase,
    S. Srinivasa (2023), Git Re-Basin: Merging Models modulo Permutation Symmetries.
    """

    def __init__(self, orbits: Orbits, reference: Weights) -> None:
        self._sorted = Sorting(orbits)
        self._walk = UnitWalk(orbits)
        self._wanted: dict[tuple[int, ...], Tensor] = {}

        def note(members: tuple[int, ...], keys: Tensor) -> Tensor:
            self._wanted[members] = keys[0].double().cpu()
            return torch.arange(len(members)).expand(len(keys), -1)

        self._walk.sources(reference, note)

    def __call__(self, weights: Weights) -> Weights:
        """Put the units of weights in the places of the reference's."""
        return self.of_sorted(self._sorted(weights))

    def of_sorted(self, weights: Weights) -> Weights:
        """Do so for weights that `Sorting` gave; for many references they are sorted once."""
        return self._walk.permute(weights, self._walk.sources(weights, self._place))

    def _place(self, members: tuple[int, ...], keys: Tensor) -> Tensor:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (slow to import)

        wanted, keys = self._wanted[members], keys.cpu()
        agreement = torch.einsum("pk,nuk->npu", wanted, keys.double())
        chosen = [linear_sum_assignment(one.numpy(), maximize=True)[1] for one in agreement]
        found = torch.stack([torch.from_numpy(one) for one in chosen])
        # Equal filters have the numbers of one group, and take the group's places in the order that they stand in.
        different = (keys.diff(dim=1).abs() > rounding_of(keys)[:, None, None]).any(2)
        group = torch.cat([torch.zeros_like(found[:, :1]), different.cumsum(1)], 1)
        places = group.gather(1, found).argsort(dim=1, stable=True)
        return torch.empty_like(found).scatter(1, places, torch.arange(len(members)).expand_as(found))


def random_reference(orbits: Orbits) -> Weights:
    """Draw weights to match with where no network is given: normal numbers that depend on the target's sizes only."""
    rng = stream(0, "reference of a matching")
    return {
        layer.name: torch.randn(1, layer.filters, layer.filter_size, generator=rng, dtype=torch.float64)
        for layer in orbits.structure.spec.layers
    }
