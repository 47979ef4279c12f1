"""Whether drawn networks are new or near copies of each other: distances after matching, and common mistakes.

Two networks have similar weights if their distance is small once units that may change places are matched; they behave
similarly if they err on the same examples. Both are compared with what could be had by copying: samples with noise, and
averages of two samples.

References: B. Zeng, Y. Yin, Z. Xu, Z. Liu (2025), Generative Modeling of Weights: Generalization or Memorization?,
arXiv:2506.07998.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperframe import Weights
from hyperframe.runtime.rng import stream
from hyperframe.targets import Orbits, batch_size, flatten, slice_weights
from hyperframe.targets.symmetry.matching import Matching
from hyperframe.targets.symmetry.sorting import Sorting

LEVELS = (3.0**-5, 3.0**-4, 3.0**-3, 3.0**-2, 3.0**-1, 1.0)
"""Amplitudes of noise, relative to the typical distance between a sample and its nearest other one."""


class Neighbourhood:
    """Samples of a generator, and how far networks are from each of them.

    Args:
        orbits: the target's symmetries.
        samples: for each layer [samples, filters, filter_size], representatives under all gauges but permutations.

    Attributes:
        samples: these weights.
        norm: the samples' mean norm, in which distances are measured.
    """

    def __init__(self, orbits: Orbits, samples: Weights) -> None:
        self.samples = samples
        self._spec = orbits.structure.spec
        self._sorted = Sorting(orbits)
        self._matched = [Matching(orbits, one) for one in self._ones()]
        self.norm = float(flatten(self._spec, samples).norm(dim=1).mean())

    def _ones(self) -> list[Weights]:
        return [slice_weights(self.samples, slice(n, n + 1)) for n in range(batch_size(self.samples))]

    def distances(self, weights: Weights) -> Tensor:
        """Return the distance of networks to every sample, ‖π(θ) − θ_s‖ / norm, where π matches units to the sample's.

        Args:
            weights: for each layer [networks, filters, filter_size], representatives as the samples are.

        Returns:
            float64 [networks, samples], on the CPU.
        """
        ordered = self._sorted(weights)
        columns = []
        for matched, sample in zip(self._matched, self._ones(), strict=True):
            moved = flatten(self._spec, matched.of_sorted(ordered))
            columns.append((moved - flatten(self._spec, sample)).double().norm(dim=1).cpu())
        # Where all weights are zero, so are all distances.
        return torch.stack(columns, 1) / (self.norm or 1.0)

    def add_noise(self, number: int, amplitude: float, seed: int) -> Weights:
        """Return one sample with Gaussian noise, whose norm in each layer is `amplitude` times the layer's."""
        device = next(iter(self.samples.values())).device
        rng = stream(seed, f"novelty noise {number}", device)
        result = {}
        for layer, theta in slice_weights(self.samples, slice(number, number + 1)).items():
            noise = torch.randn(theta.shape, generator=rng, device=device, dtype=theta.dtype)
            result[layer] = theta + amplitude * theta.norm() / noise.norm() * noise
        return result

    def average(self, one: int, other: int) -> Weights:
        """Return the mean of two samples, the second one's units matched to the first one's."""
        first = slice_weights(self.samples, slice(one, one + 1))
        second = self._matched[one](slice_weights(self.samples, slice(other, other + 1)))
        return {layer: (theta + second[layer]) / 2 for layer, theta in first.items()}


def overlaps(wrong: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over the union of the sets of examples that networks get wrong.

    Where neither of two networks gets any example wrong the overlap is 1, since they behave alike.

    Args:
        wrong: whether a network gets an example wrong, bool [networks, examples].
        others: the same for other networks, [others, examples].

    Returns:
        float64 [networks, others].

    Example:
        >>> wrong = torch.tensor([[True, True, False], [False, True, True]])
        >>> round(float(overlaps(wrong, wrong)[0, 1]), 4)
        0.3333
    """
    one, other = wrong.float(), others.float()
    common = (one @ other.T).double()
    union = one.sum(1)[:, None].double() + other.sum(1)[None].double() - common
    return torch.where(union > 0, common / union.clamp(min=1), 1.0)


def nearest_other(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Find each sample's nearest other one in distances [samples, samples]: its distance and number, [samples] each.

    Matching one network to another need not give the same distance as the other way round; the smaller one counts.
    """
    both = torch.minimum(distances, distances.T).clone().fill_diagonal_(torch.inf)
    found = both.min(1)
    return found.values, found.indices


def pairs_of(nearest: Sequence[int]) -> list[tuple[int, int]]:
    """Pair each sample with its nearest other one; two that are nearest to each other form one pair.

    Example:
        >>> pairs_of([1, 0, 1])
        [(0, 1), (1, 2)]
    """
    return sorted({(min(one, other), max(one, other)) for one, other in enumerate(nearest)})


def reach(distances: Sequence[float], losses: Sequence[float], allowed: float) -> float | None:
    """Return the distance at which noise costs more accuracy than allowed; None if it never does.

    Between two levels the loss is taken as linear in the distance; at distance 0 it is 0.

    Args:
        distances: the typical distance at each level, increasing.
        losses: the mean loss of accuracy at each level.
        allowed: a loss of accuracy, at least 0.

    Example:
        >>> reach([1.0, 2.0], [0.0, 0.4], 0.1)
        1.25
        >>> reach([1.0, 2.0], [0.0, 0.4], 0.5) is None
        True
    """
    before, lost = 0.0, 0.0
    for distance, loss in zip(distances, losses, strict=True):
        if loss > allowed:
            return before + (distance - before) * (allowed - lost) / (loss - lost)
        before, lost = distance, loss
    return None


def correlation(one: Tensor, other: Tensor) -> float | None:
    """Return Pearson's correlation of two lists of numbers; None where one of them is constant.

    Example:
        >>> round(correlation(torch.tensor([0.0, 1.0]), torch.tensor([3.0, 1.0])), 6)
        -1.0
    """
    one, other = one.double() - one.double().mean(), other.double() - other.double().mean()
    scale = float(one.norm() * other.norm())
    return float((one * other).sum()) / scale if scale > 1e-12 else None
