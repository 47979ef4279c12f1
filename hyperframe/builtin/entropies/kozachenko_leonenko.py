"""The entropy estimator of Kozachenko and Leonenko, from the distances to nearest neighbours (Eq. 13)."""

import math
from typing import Literal

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.options import option

FLOOR = 64.0
"""Distances below this many rounding errors of the samples' own size count as zero."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the estimator."""

    distance: Literal["l2", "l1"] = option("l2", "metric on the weights: Euclidean (the paper) or L1 (its program)")
    neighbour: int = option(1, "which neighbour's distance counts, k", minimum=1)
    dimension: int | None = option(None, "d in Eq. 13; null: the dimension of z", minimum=1)
    constants: bool = option(False, "add −ψ(k) + log of the unit ball's volume, which Eq. 13 leaves out")


class KozachenkoLeonenko:
    """H = ψ(N) + (d / N) Σ_i log ε_i, with ε_i the distance from sample i to its k-th neighbour.

    With `constants`, −ψ(k) + log V_d is added, V_d the volume of the unit ball of the metric in d dimensions; only then
    do the values agree with known entropies. Neighbours are found by a matrix product; the distances that count are
    computed again from differences. Where samples coincide, ε_i is a floor, relative to the samples' size, with
    gradient zero. Scale law: H(aX) = H(X) + d log a.

    References: L. Kozachenko, N. Leonenko (1987), Problemy Peredachi Informatsii 23(2); the paper's appendix E.

    Example:
        >>> estimate = KozachenkoLeonenko(Options(constants=True))
        >>> samples = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> abs(float(estimate(samples, dimension=2))) < 0.1     # the uniform distribution on a unit square
        True
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.minimum_samples = options.neighbour + 1

    def __call__(self, samples: Tensor, dimension: int) -> Tensor:
        """Estimate the entropy in nats.

        Args:
            samples: [n, entries], n ≥ k + 1.
            dimension: d where the options leave it open.

        Raises:
            ValueError: too few samples.
        """
        count, options = len(samples), self.options
        if count < self.minimum_samples:
            raise ValueError(f"kozachenko_leonenko needs at least {self.minimum_samples} samples, got {count}")
        d = options.dimension or dimension
        with torch.no_grad():
            neighbours = self._neighbours(samples)
        differences = samples - samples[neighbours]
        absolute = differences.abs()
        floor = FLOOR * torch.finfo(samples.dtype).eps * self._size(samples.detach()).amax()
        floor = floor.clamp(min=torch.finfo(samples.dtype).tiny)
        if options.distance == "l1":
            distances = absolute.sum(1)
        else:
            # The largest entry is taken out first: squares neither overflow nor vanish.
            largest = absolute.detach().amax(1, keepdim=True).clamp(min=torch.finfo(samples.dtype).tiny)
            squares = (differences / largest).square().sum(1)
            distances = largest[:, 0] * torch.where(squares > 0, squares, 1.0).sqrt()
            distances = torch.where(squares > 0, distances, 0.0)
        logs = torch.where(distances > floor, distances, floor).log()
        entropy = d * logs.mean() + _digamma(count)
        if options.constants:
            entropy = entropy - _digamma(options.neighbour) + _log_unit_ball(d, options.distance)
        return entropy

    def _size(self, samples: Tensor) -> Tensor:
        largest, order = _largest(samples), 1 if self.options.distance == "l1" else 2
        norms: Tensor = torch.linalg.vector_norm(samples / largest, ord=order, dim=1)
        return largest * norms

    def _neighbours(self, samples: Tensor) -> Tensor:
        """The index of each sample's k-th nearest neighbour, int64 [n]."""
        centred = samples - samples.mean(0)
        if self.options.distance == "l1":
            distances = torch.cdist(centred, centred, p=1.0)
        else:
            centred = centred / _largest(centred)
            squares = centred.square().sum(1)
            distances = squares[:, None] + squares[None] - 2 * centred @ centred.T
        distances.fill_diagonal_(math.inf)
        return distances.kthvalue(self.options.neighbour, 1).indices


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude, to divide by: what is left neither overflows nor vanishes where it is squared."""
    return values.abs().amax().clamp(min=torch.finfo(values.dtype).tiny)


def _digamma(value: int) -> float:
    """ψ of a whole number: the harmonic sum below it, less Euler's constant."""
    return sum(1 / k for k in range(1, value)) - float(np.euler_gamma)


def _log_unit_ball(d: int, distance: str) -> float:
    """Logarithm of the unit ball's volume: π^(d/2) / Γ(d/2 + 1) for l2, 2^d / d! for l1."""
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
            summary="from the distance of each sample to its k-th nearest neighbour",
            reference="Eq. 13, appendix E",
        )
    ]
