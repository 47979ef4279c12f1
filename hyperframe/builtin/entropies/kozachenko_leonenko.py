"""The entropy estimator of Kozachenko and Leonenko, from the distances to nearest neighbours (Eq. 13)."""

import math
from typing import Literal

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe import Component, hookimpl, option
from hyperframe.runtime.distributed import gather
from hyperframe.types import EntropyEstimator

FLOOR = 64.0
"""Distances below this many rounding errors of the samples' own size count as zero."""

BLOCK = 2**23
"""The most entries of the distance matrix that are in memory at a time, unless one row has more."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the estimator."""

    distance: Literal["l2", "l1"] = option("l2", "metric on the weights: l2 (the paper) or l1 (its authors' program)")
    neighbour: int = option(1, "k: the distance to the k-th nearest neighbour is taken", minimum=1)
    dimension: int | None = option(None, "d in Eq. 13; null: the dimension of z", minimum=1)
    constants: bool = option(False, "add −ψ(k) + log of the unit ball's volume, which Eq. 13 leaves out")
    subset: int | None = option(None, "number of samples among which neighbours are searched; null: all", minimum=2)
    coordinates: int | None = option(None, "number of entries on which distances are taken; null: all", minimum=1)

    def __attrs_post_init__(self) -> None:
        if self.subset is not None and self.subset <= self.neighbour:
            raise ValueError(
                f"subset must be more than neighbour, since no sample is a neighbour of itself, but subset is "
                f"{self.subset} and neighbour is {self.neighbour}"
            )


class KozachenkoLeonenko(EntropyEstimator):
    """H = ψ(N) + (d / N) Σ_i log ε_i, with ε_i the distance from sample i to its k-th neighbour.

    With `constants`, −ψ(k) + log V_d is added, V_d the volume of the unit ball of the metric in d dimensions; only then
    do the values agree with known entropies (for L1 only where d is the number of entries: a lower-dimensional set cuts
    its ball differently in every direction). Neighbours are found by a matrix product in float64, some rows at a time;
    it mistakes distances for equal that differ by 1e-8 of the samples' spread, which single precision could not tell
    apart either. The distances to the neighbours are computed again from differences. Where samples coincide, ε_i is a
    floor, relative to the samples' size, with gradient zero. Subset and coordinates are drawn anew at each call. Scale
    law: H(aX) = H(X) + d log a, whatever the options.

    **N.** The mass of the ball around a sample up to its k-th neighbour among M others has the distribution
    Beta(k, M + 1 − k), so the mean of its logarithm is ψ(k) − ψ(M + 1). With all samples M = N − 1, which gives ψ(N).
    With a `subset` of m < N samples, M is m − 1 for the m samples that are in it and m for the others, and ψ(N) becomes
    the mean over all samples, (m / N) ψ(m) + (1 − m / N) ψ(m + 1). All N samples keep their term of the sum.

    With `coordinates` = c of D entries, distances are those of the c entries times √(D / c), in L1 times D / c: their
    mean square, in L1 their mean, is as with all entries. c must be at least d for distances to tell points of a
    d-dimensional set apart.

    References: L. Kozachenko, N. Leonenko (1987), Problemy Peredachi Informatsii 23(2); the paper's appendix E, which
    has the subset of samples; A. Kraskov, H. Stögbauer, P. Grassberger (2004), Estimating mutual information, Physical
    Review E 69, for the ball's mass.

    Example:
        >>> estimate = KozachenkoLeonenko(Options(constants=True))
        >>> samples = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> abs(float(estimate(samples, dimension=2))) < 0.1     # the uniform distribution on a unit square
        True
        >>> abs(float(KozachenkoLeonenko(Options(constants=True, subset=500))(samples, dimension=2))) < 0.15
        True
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.minimum_samples = options.neighbour + 1
        self.distance = options.distance

    def scale_degree(self, count: int, entries: int, dimension: int) -> int:
        """Return the g of H(aX) = H(X) + g log a: d."""
        return self.options.dimension or dimension

    def departures(self, entries: int, dimension: int) -> list[str]:
        """List what keeps it from estimating the Shannon entropy of a density on all entries."""
        options, reasons = self.options, []
        if not options.constants:
            reasons.append("the estimator leaves constants out: set entropy.constants=true")
        if options.dimension not in (None, entries):
            reasons.append(
                f"the estimator takes {entries:,} dimensions for {options.dimension:,}: set entropy.dimension=null"
            )
        elif options.distance == "l1" and dimension < entries:
            reasons.append("L1 measures no volume of a lower-dimensional set: set entropy.distance=l2")
        if options.coordinates is not None and options.coordinates < entries:
            reasons.append(
                f"the estimator sees {options.coordinates:,} of {entries:,} entries, which have another entropy: set "
                "entropy.coordinates=null"
            )
        return reasons or [
            "the entropy is estimated from the networks of a step, with an error of either sign: the term "
            "manifold_entropy has none"
        ]

    def __call__(self, samples: Tensor, dimension: int, rng: torch.Generator | None = None) -> Tensor:
        """Estimate the entropy in nats.

        Args:
            samples: [n, entries], in all processes together n ≥ k + 1.
            dimension: d, unless the options set it.
            rng: for subset and coordinates; None: one with a fixed seed.

        Raises:
            ValueError: too few samples.
        """
        samples, options = gather(samples), self.options
        if len(samples) < self.minimum_samples:
            raise ValueError(f"kozachenko_leonenko needs at least {self.minimum_samples} samples, got {len(samples)}")
        d = options.dimension or dimension
        rng = rng if rng is not None else torch.Generator(samples.device).manual_seed(0)
        subset = _draw_numbers(len(samples), options.subset, rng, samples.device)
        entries = _draw_numbers(samples.shape[1], options.coordinates, rng, samples.device)
        constant = _mean_digamma(len(samples), len(samples) if subset is None else len(subset))
        if entries is not None:
            stretch = math.log(samples.shape[1] / len(entries))
            constant += d * (stretch if options.distance == "l1" else stretch / 2)
            samples = samples.index_select(1, entries)
        entropy = d * self._log_distances(samples, subset).mean() + constant
        if options.constants:
            entropy = entropy - _digamma(options.neighbour) + _log_unit_ball(d, options.distance)
        return entropy

    def _log_distances(self, samples: Tensor, subset: Tensor | None) -> Tensor:
        """Return the logarithm of each sample's distance to its neighbour, [n]."""
        with torch.no_grad():
            neighbours = self._neighbours(samples, subset)
        # Not samples[neighbours]: with several threads on a CPU its gradient is added up in an order that changes.
        differences = samples - samples.index_select(0, neighbours)
        absolute = differences.abs()
        floor = FLOOR * torch.finfo(samples.dtype).eps * self._size(samples.detach()).amax()
        floor = floor.clamp(min=torch.finfo(samples.dtype).tiny)
        if self.options.distance == "l1":
            distances = absolute.sum(1)
        else:
            # Divided by the largest entry squares neither overflow nor underflow.
            largest = absolute.detach().amax(1, keepdim=True).clamp(min=torch.finfo(samples.dtype).tiny)
            squares = (differences / largest).square().sum(1)
            distances = largest[:, 0] * torch.where(squares > 0, squares, 1.0).sqrt()
            distances = torch.where(squares > 0, distances, 0.0)
        return torch.where(distances > floor, distances, floor).log()

    def _size(self, samples: Tensor) -> Tensor:
        largest, order = _largest(samples), 1 if self.options.distance == "l1" else 2
        norms: Tensor = torch.linalg.vector_norm(samples / largest, ord=order, dim=1)
        return largest * norms

    def _neighbours(self, samples: Tensor, subset: Tensor | None) -> Tensor:
        """Find the index of each sample's k-th nearest neighbour in the subset, int64 [n]."""
        rows = samples
        if self.options.distance == "l2":
            # In single precision the product would mistake distances up to 1e-3 of the samples' spread for each other.
            rows = samples - samples.mean(0, dtype=torch.float64)
            rows /= _largest(rows)
        numbers = torch.arange(len(rows), device=rows.device)
        members, others = (numbers, rows) if subset is None else (subset, rows[subset])
        found, block = [], max(1, BLOCK // len(members))
        for own, some in zip(numbers.split(block), rows.split(block), strict=True):
            distances = self._distances(some, others)
            distances.masked_fill_(own[:, None] == members, math.inf)
            found.append(members[distances.kthvalue(self.options.neighbour, 1).indices])
        return torch.cat(found)

    def _distances(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return distances of rows [n, entries] and others [m, entries], for l2 squared: [n, m]."""
        if self.options.distance == "l1":
            return torch.cdist(rows, others, p=1.0)
        squares = rows.square().sum(1)[:, None] + others.square().sum(1)[None]
        return squares - 2 * rows @ others.T


def _draw_numbers(total: int, wanted: int | None, rng: torch.Generator, device: torch.device) -> Tensor | None:
    """Draw different numbers below a total, int64 [wanted]; None, and no draw, where all are wanted."""
    if wanted is None or wanted >= total:
        return None
    return torch.randperm(total, generator=rng, device=rng.device)[:wanted].to(device)


def _largest(values: Tensor) -> Tensor:
    """Return the largest magnitude; values divided by it can be squared without overflow or underflow."""
    return values.abs().amax().clamp(min=torch.finfo(values.dtype).tiny)


def _digamma(value: int) -> float:
    """Return ψ of a whole number: the harmonic sum below it, less Euler's constant."""
    return sum(1 / k for k in range(1, value)) - float(np.euler_gamma)


def _mean_digamma(count: int, members: int) -> float:
    """Return the mean over all samples of ψ(M + 1), with M the members of the subset other than the sample itself."""
    if members == count:
        return _digamma(count)
    inside = members / count
    return inside * _digamma(members) + (1 - inside) * _digamma(members + 1)


def _log_unit_ball(d: int, distance: str) -> float:
    """Return the logarithm of the unit ball's volume: π^(d/2) / Γ(d/2 + 1) for l2, 2^d / d! for l1."""
    if distance == "l1":
        return d * math.log(2) - math.lgamma(d + 1)
    return d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)


def _build(options: Options) -> KozachenkoLeonenko:
    return KozachenkoLeonenko(options)


@hookimpl
def hyperframe_entropy_estimators() -> list[Component]:
    """Register the estimator."""
    return [
        Component(
            name="kozachenko_leonenko",
            factory=_build,
            options=Options,
            summary="the entropy from the distance of each sample to its k-th nearest neighbour",
            reference="Eq. 13, appendix E",
        )
    ]
