"""Laws of entropy estimators: how the estimate moves with the samples, and what it is where samples coincide."""

import math

import torch
from torch import Tensor

from hyperframe.testing.laws import STEP, Broken, Case, Draw, Law, check_slope
from hyperframe.types import EntropyEstimator

TOLERANCE = 1e-7
"""Of an estimate in float64, relative to its size and the dimension."""


class EstimatorCase(Case):
    """An entropy estimator."""

    def __init__(self, estimator: EntropyEstimator) -> None:
        self.estimator = estimator

    def samples(self, draw: Draw) -> tuple[Tensor, int]:
        """Normal samples [n, entries], and a dimension that is not more than the entries."""
        entries, dimension = max(draw.widths[:2]) + draw.images, min(draw.widths[:2])
        count = self.estimator.minimum_samples + draw.networks + draw.images
        return torch.randn(count, entries, generator=draw.rng(), dtype=torch.float64), dimension

    def __call__(self, samples: Tensor, dimension: int) -> float:
        """The estimate as a number; raises `Broken` where it is none."""
        estimate = self.estimator(samples, dimension)
        if not isinstance(estimate, Tensor) or estimate.dim():
            raise Broken(f"it gives {type(estimate).__name__}, not a tensor without axes")
        if not math.isfinite(float(estimate)):
            raise Broken(f"the estimate is {float(estimate)}")
        return float(estimate)


def _agree(found: float, expected: float, dimension: int, what: str) -> None:
    error = abs(found - expected)
    if not error <= TOLERANCE * max(1.0, abs(expected), dimension):
        raise Broken(f"{what}: expected {expected:.9g} nats, got {found:.9g}")


def _declares(case: EstimatorCase, draw: Draw) -> None:
    fewest = getattr(case.estimator, "minimum_samples", None)
    if not isinstance(fewest, int) or fewest < 1:
        raise Broken(f"minimum_samples must be a whole number, at least 1, but is {fewest!r}")
    case(torch.randn(fewest, 5, generator=draw.rng(), dtype=torch.float64), 2)
    single = case.estimator(case.samples(draw)[0].float(), 2)
    if single.dtype != torch.float32:
        raise Broken(f"of samples in float32 it makes {single.dtype}")


def _scales(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    before = case(samples, dimension)
    for power in (-draw.exponents, draw.exponents):
        expected = before + dimension * power * math.log(2)
        _agree(case(2.0**power * samples, dimension), expected, dimension, f"H(2^{power} · X), d = {dimension}")


def _shifts(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    offset = torch.randn(samples.shape[1], generator=draw.rng(), dtype=torch.float64)
    _agree(case(samples + offset, dimension), case(samples, dimension), dimension, "H(X + c)")


def _order(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    order = torch.randperm(len(samples), generator=draw.rng())
    _agree(case(samples[order], dimension), case(samples, dimension), dimension, "H of the samples in another order")


def _coincident(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    spread = case(samples, dimension)
    for name, wrong in (
        ("all equal", samples[:1].expand_as(samples)),
        ("all zero", torch.zeros_like(samples)),
        ("in pairs", samples[torch.arange(len(samples)) // 2]),
    ):
        for dtype in (torch.float64, torch.float32):
            leaf = wrong.to(dtype).clone().requires_grad_()
            value = case.estimator(leaf, dimension)
            value.backward()
            if leaf.grad is None or not bool(value.isfinite()) or not bool(leaf.grad.isfinite().all()):
                raise Broken(f"value or gradient is not finite for {dtype} samples that are {name}")
            if name != "all zero" and float(value.detach()) >= spread:
                raise Broken(f"samples that are {name} have {float(value.detach()):.3g} nats, others {spread:.3g}")


def _gradient(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    leaf = samples.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(case.estimator(leaf, dimension), [leaf])
    way = torch.randn(samples.shape, generator=draw.rng(), dtype=torch.float64)
    ends = case(samples + STEP * way, dimension), case(samples - STEP * way, dimension)
    check_slope(float((gradient * way).sum()), ends, float(gradient.norm()))
    if not bool(gradient.any()):
        raise Broken("its gradient is zero, so nothing would drive samples apart")


LAWS = (
    Law(
        name="minimum_is_declared",
        text="'minimum_samples' is a whole number, and so many give a finite scalar in the samples' precision",
        cause="a neighbour that so few samples do not have",
        holds=_declares,
    ),
    Law(
        name="scale_law",
        text="H(aX) = H(X) + d · log a",
        cause="an epsilon inside the logarithm or a root, a bandwidth that does not follow the data, or another d",
        holds=_scales,
    ),
    Law(
        name="shift_law",
        text="H(X + c) = H(X)",
        cause="samples that are taken from the origin, not from each other",
        holds=_shifts,
    ),
    Law(
        name="order_law",
        text="the order of the samples does not matter",
        cause="a subset that is taken from the front",
        holds=_order,
    ),
    Law(
        name="coincident_samples",
        text="where samples coincide the estimate is finite, with a finite gradient, and lower than where they do not",
        cause="the logarithm, or the root, of a distance of zero",
        holds=_coincident,
    ),
    Law(
        name="is_differentiable",
        text="its gradient agrees with difference quotients, and is not zero",
        cause="distances that were detached, or a value that is rounded",
        holds=_gradient,
    ),
)
