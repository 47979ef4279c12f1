"""Priors of the weights, each a density of one weight; all weights are independent under them (appendix C)."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

PriorName = Literal["flat", "gaussian", "laplace", "scale_mixture"]


def log_prior(weights: Tensor, name: PriorName, *, std: float, narrow_std: float, narrow_part: float) -> Tensor:
    """Return the logarithm of the prior density of each weight, in nats, in the weights' shape.

    `flat` is 1 everywhere, which is no density, and gives 0. `gaussian` and `laplace` have mean zero and the standard
    deviation `std`. `scale_mixture` is (1 − π) N(0, std²) + π N(0, narrow_std²) with π = `narrow_part`.

    References: C. Blundell, J. Cornebise, K. Kavukcuoglu, D. Wierstra (2015), Weight Uncertainty in Neural Networks.

    Example:
        >>> at_zero = log_prior(torch.zeros(1), "laplace", std=2**0.5, narrow_std=0.1, narrow_part=0.5)
        >>> round(float(at_zero.exp()), 6)
        0.5
    """
    of_each: dict[str, Callable[[], Tensor]] = {
        "flat": lambda: torch.zeros_like(weights),
        "gaussian": lambda: _log_normal(weights, std),
        "laplace": lambda: -math.sqrt(2) / std * weights.abs() - math.log(math.sqrt(2) * std),
        "scale_mixture": lambda: torch.logaddexp(
            math.log1p(-narrow_part) + _log_normal(weights, std),
            math.log(narrow_part) + _log_normal(weights, narrow_std),
        ),
    }
    return of_each[name]()


def _log_normal(values: Tensor, std: float) -> Tensor:
    return -(values / std).square() / 2 - math.log(std) - math.log(2 * math.pi) / 2
