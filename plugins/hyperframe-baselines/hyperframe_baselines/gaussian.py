"""Diagonal Gaussians, which several methods take for an approximate posterior."""

import math

import torch.nn.functional as F
from torch import Tensor


def std_of(rho: Tensor) -> Tensor:
    """The standard deviation log(1 + e^ρ) of a parameter ρ that may take any value."""
    return F.softplus(rho)


def rho_of(std: float) -> float:
    """The parameter of a standard deviation: the inverse of `std_of`.

    Example:
        >>> import torch
        >>> round(float(std_of(torch.tensor(rho_of(0.01)))), 6)
        0.01
    """
    return math.log(math.expm1(std))


def kl_to_prior(mean: Tensor, std: Tensor, prior_mean: float, prior_std: float) -> Tensor:
    """KL(N(μ, σ²) ‖ N(m, s²)) in nats, summed over all entries of μ and σ, a scalar.

    log(s / σ) + (σ² + (μ − m)²) / 2s² − ½ for each entry.

    Example:
        >>> import torch
        >>> float(kl_to_prior(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0]), 1.0, 2.0))
        0.5
    """
    scaled = std / prior_std
    away = (mean - prior_mean) / prior_std
    return ((scaled.square() + away.square() - 1) / 2 - scaled.log()).sum()
