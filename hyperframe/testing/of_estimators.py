"""Laws of entropy estimators: how the estimate changes with the samples, and that it is finite where they coincide."""

import math

import torch
from torch import Tensor

from hyperframe.testing.laws import STEP, Broken, Case, Draw, Law, Vacuous, check_slope
from hyperframe.types import EntropyEstimator

TOLERANCE = 1e-7
"""The error allowed in an estimate in float64, relative to its size, to the dimension or 1."""

SEEDS = 8
"""The number of seeds that are compared to see whether an estimate depends on random numbers."""


KNOWN_ENTRIES, KNOWN_SAMPLES, KNOWN_SCALE = (1, 2), 1000, 3.0
"""Of samples whose entropy is known: entries, number, and by how much they are stretched, so that none is 0."""

KNOWN_ERROR = 0.15
"""The error allowed in the mean estimate of such samples, in nats.

Nearest neighbours with their constants (`kozachenko_leonenko`, up to the tenth, in both metrics) miss at most 0.07,
with a deviation of 0.02 of the mean; on the uniform ones `gaussian`, an upper bound there, misses 0.17 and 0.35
and `renyi` 0.09 and 0.22. What is left out by mistake is more: ψ(k) is 0.58 for k = 1, a diameter for a radius 0.69.
"""


class EstimatorCase(Case):
    """An entropy estimator."""

    def __init__(self, estimator: EntropyEstimator) -> None:
        self.estimator = estimator

    def samples(self, draw: Draw) -> tuple[Tensor, int]:
        """Draw normal samples [n, entries], and a dimension of at most the entries."""
        entries, dimension = max(draw.widths[:2]) + draw.examples, min(draw.widths[:2])
        count = self.estimator.minimum_samples + draw.networks + draw.examples
        return torch.randn(count, entries, generator=draw.rng(), dtype=torch.float64), dimension

    def estimate(self, samples: Tensor, dimension: int, seed: int = 0) -> Tensor:
        """Return the estimate with random numbers of a seed, as a tensor that may have a graph."""
        return self.estimator(samples, dimension, torch.Generator().manual_seed(seed))

    def __call__(self, samples: Tensor, dimension: int, seed: int = 0) -> float:
        """Return the estimate as a number; raises `Broken` if it is no finite scalar."""
        estimate = self.estimate(samples, dimension, seed)
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
    fewest = case.estimator.minimum_samples
    if not isinstance(fewest, int) or fewest < 1:
        raise Broken(f"minimum_samples must be a whole number, at least 1, but is {fewest!r}")
    case(torch.randn(fewest, 5, generator=draw.rng(), dtype=torch.float64), 2)
    single = case.estimate(case.samples(draw)[0].float(), 2)
    if single.dtype != torch.float32:
        raise Broken(f"for samples in float32 the estimate is in {single.dtype}")


def _repeats(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    if case(samples, dimension) != case(samples, dimension):
        raise Broken("the same samples with the same rng give another estimate")
    if float(case.estimator(samples, dimension)) != float(case.estimator(samples, dimension)):
        raise Broken("the same samples without an rng give another estimate")


def _scales(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    degree = case.estimator.scale_degree(len(samples), samples.shape[1], dimension)
    before = case(samples, dimension)
    for power in (-draw.exponents, draw.exponents):
        expected = before + degree * power * math.log(2)
        what = f"H(2^{power} · X), g = {degree}, d = {dimension}"
        _agree(case(2.0**power * samples, dimension), expected, dimension, what)


def _shifts(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    offset = torch.randn(samples.shape[1], generator=draw.rng(), dtype=torch.float64)
    _agree(case(samples + offset, dimension), case(samples, dimension), dimension, "H(X + c)")


def _order(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    order = torch.randperm(len(samples), generator=draw.rng())
    values = [case(samples, dimension, seed) for seed in range(SEEDS)]
    if len(set(values)) > 1:
        raise Vacuous("its value depends on random numbers")
    _agree(case(samples[order], dimension), values[0], dimension, "H of the samples in another order")


def _coincident(case: EstimatorCase, draw: Draw) -> None:
    """Samples that coincide have less entropy.

    Samples that coincide in groups lie at the groups' means, so that they vary less than the samples in every
    direction: estimates from moments must then be lower too. A group has `minimum_samples` samples, or two.
    """
    samples, dimension = case.samples(draw)
    spread = case(samples, dimension)
    groups = torch.arange(len(samples)) % (len(samples) // max(2, case.estimator.minimum_samples))
    means = torch.stack([samples[groups == group].mean(0) for group in range(int(groups.max()) + 1)])
    for name, wrong in (
        ("all equal", samples[:1].expand_as(samples)),
        ("all zero", torch.zeros_like(samples)),
        ("equal in groups", means[groups]),
    ):
        for dtype in (torch.float64, torch.float32):
            leaf = wrong.to(dtype).clone().requires_grad_()
            value = case.estimate(leaf, dimension)
            value.backward()
            if leaf.grad is None or not bool(value.isfinite()) or not bool(leaf.grad.isfinite().all()):
                raise Broken(f"value or gradient is not finite for {dtype} samples that are {name}")
            if name != "all zero" and float(value.detach()) >= spread:
                raise Broken(f"samples that are {name} have {float(value.detach()):.3g} nats, others {spread:.3g}")


def _known(case: EstimatorCase, draw: Draw) -> str:
    """Estimates are the entropies of distributions whose entropy is known, where the estimator says that they are."""
    errors = []
    for entries in KNOWN_ENTRIES:
        reasons = case.estimator.departures(entries, entries)
        if not isinstance(reasons, list) or not all(isinstance(reason, str) and reason for reason in reasons):
            raise Broken(f"departures must return a list of texts, but returns {reasons!r}")
        if reasons:
            raise Vacuous(f"'departures' says what keeps it from Shannon's entropy: {reasons[0]}")
        size = entries * math.log(KNOWN_SCALE)
        normal, count = entries / 2 * math.log(2 * math.pi * math.e), max(KNOWN_SAMPLES, case.estimator.minimum_samples)
        for name, draw_samples, known in (("uniform", torch.rand, size), ("normal", torch.randn, size + normal)):
            rng = draw.rng()
            drawn = [draw_samples(count, entries, generator=rng, dtype=torch.float64) for _ in range(SEEDS)]
            found = sum(case(KNOWN_SCALE * samples, entries) for samples in drawn) / SEEDS
            errors.append(abs(found - known))
            if not errors[-1] <= KNOWN_ERROR:
                raise Broken(
                    f"of {count} {name} samples with {entries} entries it is {found:.3f} nats, the mean of {SEEDS} "
                    f"estimates, and their entropy {known:.3f}; 'departures' says nothing that keeps it from that"
                )
    return f"known entropies are met within {max(errors):.2f} nats"


def _gradient(case: EstimatorCase, draw: Draw) -> None:
    samples, dimension = case.samples(draw)
    leaf = samples.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(case.estimate(leaf, dimension), [leaf])
    way = torch.randn(samples.shape, generator=draw.rng(), dtype=torch.float64)
    ends = case(samples + STEP * way, dimension), case(samples - STEP * way, dimension)
    check_slope(float((gradient * way).sum()), ends, float(gradient.norm()))
    if not bool(gradient.any()):
        raise Broken("its gradient is zero, so that nothing drives samples apart")


LAWS = (
    Law(
        name="minimum_is_declared",
        text="'minimum_samples' is a whole number, and with that many the estimate is a finite scalar of their dtype",
        cause="a k-th neighbour that so few samples do not have",
        holds=_declares,
    ),
    Law(
        name="repeats",
        text="the same samples and the same rng, or none, give the same estimate",
        cause="random numbers that do not come from rng, or no fixed seed where rng is None",
        holds=_repeats,
    ),
    Law(
        name="scale_law",
        text="H(aX) = H(X) + g · log a, with the g that 'scale_degree' returns",
        cause="an epsilon inside a logarithm or root, a bandwidth that does not follow the data, or a wrong g",
        holds=_scales,
    ),
    Law(
        name="shift_law",
        text="H(X + c) = H(X)",
        cause="distances from the origin instead of distances between samples",
        holds=_shifts,
    ),
    Law(
        name="order_law",
        text="the order of the samples does not matter",
        cause="a subset that always has the first samples",
        holds=_order,
    ),
    Law(
        name="coincident_samples",
        text="where samples coincide the estimate is finite, with a finite gradient, and lower than where they do not",
        cause="the logarithm or the root of a distance of zero",
        holds=_coincident,
    ),
    Law(
        name="known_entropies",
        text="where 'departures' lists nothing, it gives uniform and normal samples the entropy in nats that they have",
        cause="a constant or a factor left out, or a bias that 'departures' does not tell",
        holds=_known,
        examples=1,
    ),
    Law(
        name="is_differentiable",
        text="its gradient agrees with difference quotients, and is not zero",
        cause="distances that are detached, or a value that is rounded",
        holds=_gradient,
    ),
)
