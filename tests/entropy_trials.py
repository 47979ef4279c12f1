"""Samples on which entropy estimators are tested, and checks that an estimate must pass on any of them."""

import pytest
import torch

from hyperframe.builtin.entropies.kozachenko_leonenko import Options

NORMS = {"l1": 1, "l2": 2}
VARIANTS = [Options(distance=distance, neighbour=neighbour) for distance in NORMS for neighbour in (1, 3)]
every_variant = pytest.mark.parametrize(
    "options", VARIANTS, ids=lambda options: f"{options.distance}-k{options.neighbour}"
)


def normal(count, entries, seed=0, dtype=torch.float64):
    return torch.randn(count, entries, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def digamma(count):
    return float(torch.digamma(torch.tensor(float(count), dtype=torch.float64)))


def rounded(dtype):
    base = normal(1, 5, dtype=dtype)
    return base * (1 + torch.finfo(dtype).eps * torch.arange(6, dtype=dtype)[:, None])


def check_finite(estimate, points, dimension):
    leaf = points.clone().requires_grad_()
    entropy = estimate(leaf, dimension)
    assert entropy.shape == ()
    assert entropy.dtype == points.dtype
    assert entropy.isfinite()
    entropy.backward()
    assert leaf.grad.isfinite().all()
    return leaf.grad


def check_known(estimate, points, dimension, expected, error):
    assert abs(float(estimate(points, dimension)) - expected) < error


COINCIDENT = {
    "all zero": lambda dtype: torch.zeros(6, 5, dtype=dtype),
    "all equal": lambda dtype: torch.full((6, 5), 1.1, dtype=dtype),
    "equal and huge": lambda dtype: torch.full((6, 5), 1e30, dtype=dtype),
    "equal and tiny": lambda dtype: torch.full((6, 5), 1e-30, dtype=dtype),
    "in pairs": lambda dtype: normal(3, 5, dtype=dtype).repeat(2, 1),
    "some": lambda dtype: torch.cat([normal(4, 5, dtype=dtype), torch.ones(4, 5, dtype=dtype)]),
    "some zero": lambda dtype: torch.cat([normal(4, 5, dtype=dtype), torch.zeros(4, 5, dtype=dtype)]),
    "up to rounding": rounded,
    "one entry differs": lambda dtype: torch.eye(6, 5, dtype=dtype),
}
