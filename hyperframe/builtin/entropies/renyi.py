"""The entropy estimator `renyi`: Rényi's entropy of order 2, from a Gaussian kernel density of the samples."""

import math

import attrs
import torch
from torch import Tensor

from hyperframe import Component, hookimpl, option
from hyperframe.runtime.distributed import gather
from hyperframe.types import EntropyEstimator

FLOOR = 64.0
"""A mean distance below this many rounding errors of the samples' own size counts as zero."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the estimator."""

    bandwidth: float = option(1.0, "the kernel's width in units of Silverman's rule", minimum=1e-6, maximum=1e6)


class RenyiEntropy(EntropyEstimator):
    """H₂ = −log( 1 / (n (n − 1)) Σ_{i≠j} N(x_i − x_j; 0, 2h² I_d) ), the entropy −log ∫p² of order 2.

    The density of n samples is a mean of normal kernels of width h; a product of two of them integrates to a normal
    kernel of variance 2h² at their distance. A sample does not count in its own density. h is `bandwidth` times the
    width of Silverman's rule, σ (4 / (n (d + 2)))^(1 / (d + 4)), where σ² = (mean |x_i − x_j|²) / (2d) is the samples'
    own variance in each of d dimensions. h follows the samples and is differentiated with them. Scale law:
    H(aX) = H(X) + d log a.

    The estimate is that of the smoothed density: for normal samples with covariance Σ it is
    (d / 2) log 4π + ½ log det(Σ + h² I), more than without smoothing. The kernel is isotropic, so directions in which
    the samples vary little are smoothed most. Every pair counts, so the gradient does not jump, as it does for nearest
    neighbours where the neighbour changes.

    All is computed in float64, with logarithms. Where all samples coincide, σ is a floor, relative to their size, with
    gradient zero.

    References: A. Rényi (1961), On measures of entropy and information, Proceedings of the 4th Berkeley Symposium 1;
    J. Principe (2010), Information Theoretic Learning, chapter 2; B. Silverman (1986), Density Estimation, section 4.3.

    Example:
        >>> samples = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> abs(float(RenyiEntropy(Options(bandwidth=0.2))(samples, dimension=2))) < 0.1    # uniform on a unit square
        True
    """

    minimum_samples = 2
    distance = "l2"

    def __init__(self, options: Options) -> None:
        self.options = options

    def scale_degree(self, count: int, entries: int, dimension: int) -> int:
        """Return the g of H(aX) = H(X) + g log a: d."""
        return dimension

    def departures(self, entries: int, dimension: int) -> list[str]:
        """List what keeps it from estimating the Shannon entropy of a density on all entries."""
        return ["'renyi' does not estimate Shannon's entropy of any q, but Rényi's of order 2"]

    def __call__(self, samples: Tensor, dimension: int, rng: torch.Generator | None = None) -> Tensor:
        """Estimate the entropy in nats.

        Args:
            samples: [n, entries], in all processes together n ≥ 2.
            dimension: d.
            rng: not used.

        Raises:
            ValueError: too few samples.
        """
        samples, d = gather(samples), dimension
        count = len(samples)
        if count < self.minimum_samples:
            raise ValueError(f"renyi needs at least {self.minimum_samples} samples, got {count}")
        kind = torch.finfo(samples.dtype)
        # Divided by the largest entry squares neither overflow nor underflow, and only zeros have a size below 1.
        largest = samples.detach().abs().amax().clamp(min=kind.tiny).double()
        rows = samples.double() / largest
        centred = rows - rows.mean(0)
        # The mean of |x_i − x_j|² over pairs is twice the sum of the entries' variances.
        variance = centred.square().sum() / (count - 1)
        floor = (FLOOR * kind.eps) ** 2 * rows.detach().square().sum(1).amax().clamp(min=1)
        apart = variance > floor
        factor = self.options.bandwidth * (4 / (count * (d + 2))) ** (1 / (d + 4))
        width = torch.where(apart, variance, floor) * (factor**2 / d)  # h²
        squares = torch.where(apart, _squared_distances(centred), 0.0)
        itself = torch.eye(count, dtype=torch.bool, device=samples.device)
        exponents = (-squares / (4 * width)).masked_fill(itself, -math.inf)
        mean = torch.logsumexp(exponents, (0, 1)) - math.log(count * (count - 1))
        entropy = d / 2 * (4 * math.pi * width).log() - mean + d * largest.log()
        result: Tensor = entropy.to(samples.dtype)
        return result


def _squared_distances(rows: Tensor) -> Tensor:
    """Return |x_i − x_j|² of centred rows [n, entries], [n, n]."""
    products = rows @ rows.T
    squares = products.diagonal()
    return squares[:, None] + squares - 2 * products


def _build(options: Options) -> RenyiEntropy:
    return RenyiEntropy(options)


@hookimpl
def hyperframe_entropy_estimators() -> list[Component]:
    """Register the estimator."""
    return [
        Component(
            name="renyi",
            factory=_build,
            options=Options,
            summary="Rényi's entropy of order 2, from a Gaussian kernel density of the samples",
            reference="Rényi (1961); Principe (2010), Information Theoretic Learning, chapter 2",
        )
    ]
