"""The entropy estimator `gaussian`: the entropy of a normal distribution with the samples' covariance."""

import math

import torch
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.runtime.distributed import gather
from hyperframe.types import EntropyEstimator, NoOptions

FLOOR = 64.0
"""A standard deviation below this many rounding errors of the samples' size counts as zero."""


class GaussianEntropy(EntropyEstimator):
    """H = (r / 2) log(2πe) + ½ Σ_j log λ_j, with λ_j the r largest eigenvalues of the samples' covariance.

    r = min(n − 1, entries, d) for n samples on a manifold of dimension d. Of all distributions on a flat set with this
    covariance the normal one has the greatest entropy, so there H is an upper bound, apart from errors of the
    eigenvalues; on a curved set, whose covariance has more than d directions, it is none. H depends on the covariance
    alone: two tight clusters far apart count as spread. With few samples H is too low.

    The covariance of n samples with D entries has the same nonzero eigenvalues as C G Cᵀ / (n − 1), where G [n, n] has
    the products of the centred samples in float64 and the rows of C [n − 1, n] are orthonormal contrasts, which leave
    out the one eigenvalue that is zero by construction. Where D < n the covariance itself is smaller and is used.
    Eigenvalues are raised to a floor, with gradient zero: the square of 64 rounding errors of the largest sample's
    norm, plus 64 rounding errors in float64 of the sum of the r eigenvalues.

    Scale law: H(aX) = H(X) + r log a. On CUDA the decomposition makes the host wait for the device.

    References: T. Cover, J. Thomas (2006), Elements of Information Theory, 2nd edition, section 8.4 and theorem 8.6.5.

    Example:
        >>> samples = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> abs(float(GaussianEntropy()(samples, dimension=2)) - math.log(2 * math.pi * math.e)) < 0.05
        True
    """

    minimum_samples = 2

    def scale_degree(self, count: int, entries: int, dimension: int) -> int:
        """Return the g of H(aX) = H(X) + g log a: r, the number of directions that count."""
        return min(count - 1, entries, dimension)

    def departures(self, entries: int, dimension: int) -> list[str]:
        """List what keeps it from estimating the Shannon entropy of a density on all entries."""
        return ["'gaussian' does not estimate Shannon's entropy of any q, but of a normal one with its covariance"]

    def __call__(self, samples: Tensor, dimension: int, rng: torch.Generator | None = None) -> Tensor:
        """Estimate the entropy in nats.

        Args:
            samples: [n, entries], in all processes together n ≥ 2.
            dimension: d.
            rng: not used.

        Raises:
            ValueError: too few samples.
        """
        samples = gather(samples)
        count, entries = samples.shape
        if count < self.minimum_samples:
            raise ValueError(f"gaussian needs at least {self.minimum_samples} samples, got {count}")
        degree = self.scale_degree(count, entries, dimension)
        kind = torch.finfo(samples.dtype)
        # Divided by the largest entry squares neither overflow nor underflow, and only zeros have a size below 1.
        largest = samples.detach().abs().amax().clamp(min=kind.tiny).double()
        rows = samples.double() / largest
        variances = torch.linalg.eigvalsh(_covariance(rows))[-degree:]
        size = rows.detach().square().sum(1).amax().clamp(min=1)
        floor = (FLOOR * kind.eps) ** 2 * size + FLOOR * torch.finfo(torch.float64).eps * variances.detach().sum()
        logs = torch.where(variances > floor, variances, floor).log()
        entropy = degree / 2 * math.log(2 * math.pi * math.e) + degree * largest.log() + logs.sum() / 2
        return entropy.to(samples.dtype)


def _covariance(rows: Tensor) -> Tensor:
    """Return a matrix with the covariance's eigenvalues of rows [n, entries]: [entries, entries] or [n − 1, n − 1]."""
    count, entries = rows.shape
    centred = rows - rows.mean(0)
    if entries < count:
        return centred.T @ centred / (count - 1)
    contrasts = _contrasts(count, rows)
    return contrasts @ (centred @ centred.T) @ contrasts.T / (count - 1)


def _contrasts(count: int, like: Tensor) -> Tensor:
    """Return Helmert's contrasts [count − 1, count]: orthonormal rows with sum zero; row i has i + 1 equal entries."""
    ones = torch.ones(count - 1, count, dtype=like.dtype, device=like.device)
    numbers = torch.arange(1, count, dtype=like.dtype, device=like.device)
    unscaled = ones.tril()
    unscaled.diagonal(1).copy_(-numbers)
    return unscaled / (numbers * (numbers + 1)).sqrt()[:, None]


def _build(options: NoOptions) -> GaussianEntropy:
    return GaussianEntropy()


@hookimpl
def hyperframe_entropy_estimators() -> list[Component]:
    """Register the estimator."""
    return [
        Component(
            name="gaussian",
            factory=_build,
            summary="the entropy of a normal distribution with the samples' covariance",
            reference="Cover and Thomas (2006), Elements of Information Theory, section 8.4",
        )
    ]
