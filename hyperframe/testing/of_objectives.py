"""Laws of objectives: the weight of accuracy at every step, what examples count, and the cost of the weights."""

import math

import torch
from torch import Tensor

from hyperframe.testing.laws import STEP, Broken, Case, Draw, Law, Vacuous, check_slope
from hyperframe.testing.networks import network
from hyperframe.types import Objective, Weights

TOLERANCE = 1e-12
"""The error allowed in costs in float64, relative to the largest cost of a single network."""

STEPS = (1, 2, 7, 2000)
"""The lengths of trainings that are tested."""

EXAMPLES, ENTRIES = 5000, 5
"""Of the training whose examples are weighed: how many there are, and entries of the codes."""

ERRORS = 6
"""How many standard errors the mean weight of the examples may be from 1."""


class ObjectiveCase(Case):
    """An objective."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def weights(self, draw: Draw, dtype: torch.dtype = torch.float64) -> Weights:
        """Draw normal weights of two to four networks with two layers."""
        spec, rng = network("dense", draw).spec, draw.rng()
        return {
            layer.name: torch.randn(draw.networks + 1, layer.filters, layer.filter_size, generator=rng, dtype=dtype)
            for layer in spec.layers
        }

    def codes(self, draw: Draw) -> Tensor:
        """Draw codes of two to four networks, normal ones and, for odd seeds, one-hot ones; [networks, entries]."""
        count, rng = draw.networks + 1, draw.rng()
        if draw.seed % 2:
            return torch.eye(ENTRIES, dtype=torch.float64)[torch.randperm(ENTRIES, generator=rng)[:count]]
        return torch.randn(count, ENTRIES, generator=rng, dtype=torch.float64)

    def counts(self, code: Tensor, ids: Tensor, draw: Draw) -> Tensor:
        """Return what examples count; raises `Broken` if these are no plain numbers, `Vacuous` if None."""
        counts = self.objective.example_weights(code, ids, EXAMPLES, draw.seed)
        if counts is None:
            raise Vacuous("'example_weights' returns None: all examples count 1")
        if not isinstance(counts, Tensor) or counts.shape != ids.shape:
            form = list(counts.shape) if isinstance(counts, Tensor) else type(counts).__name__
            raise Broken(f"example_weights returns {form}, not [networks, batch] = {list(ids.shape)}")
        return counts

    def cost(self, weights: Weights) -> Tensor:
        """Return the cost, which may have a graph; raises `Broken` if it is no finite scalar, `Vacuous` if None."""
        cost = self.objective.cost(weights)
        if cost is None:
            raise Vacuous("'cost' returns None: the weights cost nothing")
        if not isinstance(cost, Tensor) or cost.dim():
            raise Broken(f"the cost is {type(cost).__name__}, not a tensor without axes")
        if not bool(cost.isfinite()):
            raise Broken(f"the cost is {float(cost)}")
        return cost


def _counts(case: ObjectiveCase, draw: Draw) -> None:
    for steps in STEPS:
        for step in sorted({0, steps // 2, steps - 1}):
            count = case.objective.accuracy_weight(step, steps, draw.examples)
            if isinstance(count, bool) or not isinstance(count, int | float):
                raise Broken(f"accuracy_weight returns {type(count).__name__}, not a number")
            if not (math.isfinite(count) and count >= 0):
                raise Broken(f"at step {step} of {steps} accuracy_weight is {count}")
            if case.objective.accuracy_weight(step, steps, draw.examples) != count:
                raise Broken(f"at step {step} of {steps} accuracy_weight is another one when asked again")


def _precision(case: ObjectiveCase, draw: Draw) -> None:
    for dtype in (torch.float32, torch.float64):
        cost = case.cost(case.weights(draw, dtype))
        if cost.dtype != dtype:
            raise Broken(f"for weights in {dtype} the cost is in {cost.dtype}")


def _averages(case: ObjectiveCase, draw: Draw) -> None:
    weights = case.weights(draw)
    count = len(next(iter(weights.values())))
    ones = [float(case.cost({name: theta[n : n + 1] for name, theta in weights.items()})) for n in range(count)]
    expected, found = sum(ones) / count, float(case.cost(weights))
    if not abs(found - expected) <= TOLERANCE * max(1.0, *map(abs, ones)):
        raise Broken(f"the cost of {count} networks is {found:.9g}, the mean of their own costs {expected:.9g}")


def _gradient(case: ObjectiveCase, draw: Draw) -> None:
    weights = case.weights(draw)
    leaves = {name: theta.clone().requires_grad_() for name, theta in weights.items()}
    cost = case.cost(leaves)
    if not cost.requires_grad:
        ahead = float(case.cost({name: theta + 1 for name, theta in weights.items()}))
        if ahead != float(cost):
            raise Broken("its gradient is zero, although it is not constant")
        return
    cost.backward()
    rng = draw.rng()
    way = {name: torch.randn(theta.shape, generator=rng, dtype=theta.dtype) for name, theta in weights.items()}
    ends = [
        float(case.cost({name: theta + sign * STEP * way[name] for name, theta in weights.items()})) for sign in (1, -1)
    ]
    parts = [(leaf.grad, way[name]) for name, leaf in leaves.items() if leaf.grad is not None]
    derivative = sum(float((gradient * along).sum()) for gradient, along in parts)
    size = math.sqrt(sum(float(gradient.square().sum()) for gradient, _ in parts))
    check_slope(derivative, (ends[0], ends[1]), size)


def _all_ids(networks: int) -> Tensor:
    return torch.arange(EXAMPLES).expand(networks, EXAMPLES)


def _example_weights(case: ObjectiveCase, draw: Draw) -> str:
    code = case.codes(draw)
    counts = case.counts(code, _all_ids(len(code)), draw)
    if counts.requires_grad or counts.dtype != code.dtype:
        raise Broken(f"for codes in {code.dtype} without a graph it returns {counts.dtype}, or has a graph")
    wrong = ~(counts.isfinite() & (counts >= 0))
    if bool(wrong.any()):
        raise Broken(f"an example counts {float(counts[wrong][0]):g}")
    return f"the largest is {float(counts.max()):.3g}"


def _one_on_average(case: ObjectiveCase, draw: Draw) -> None:
    code = case.codes(draw)
    counts = case.counts(code, _all_ids(len(code)), draw)
    means, deviations = counts.mean(1), counts.std(1)
    error = ERRORS * deviations / math.sqrt(EXAMPLES) + TOLERANCE
    far = (means - 1).abs() > error
    if not bool((~far).all()):
        place = int(far.int().argmax())
        raise Broken(
            f"over {EXAMPLES:,} examples the mean is {float(means[place]):.4g}, which is not 1 within the sampling "
            f"error of {float(error[place]):.2g}",
            f"network {place}",
        )


def _own_data(case: ObjectiveCase, draw: Draw) -> None:
    code = case.codes(draw)
    known = case.counts(code, _all_ids(len(code)), draw)
    rng = draw.rng()
    ids = torch.randint(EXAMPLES, (len(code), draw.examples), generator=rng)
    order = torch.randperm(len(code), generator=rng)
    for what, rows, asked in (
        ("asked again in another batch", torch.arange(len(code)), ids),
        ("among networks in another order", order, ids[order]),
        ("alone", torch.tensor([0]), ids[:1]),
    ):
        found, wanted = case.counts(code[rows], asked, draw), known[rows].gather(1, asked)
        if not torch.allclose(found, wanted, rtol=0, atol=TOLERANCE):
            place = (found - wanted).abs().flatten().argmax()
            pair = f"{float(found.flatten()[place]):.6g} instead of {float(wanted.flatten()[place]):.6g}"
            raise Broken(f"an example counts {pair} for the same network {what}")


def _departures(case: ObjectiveCase, draw: Draw) -> None:
    found = case.objective.departures()
    if found is None:
        raise Vacuous("'departures' returns None: it is not meant to be the negative evidence lower bound")
    if not isinstance(found, list) or not all(isinstance(reason, str) and reason for reason in found):
        raise Broken(f"departures must return a list of texts or None, but returns {found!r}")
    if case.objective.accuracy_weight(0, 1, 7) != 7 and not found:
        raise Broken("accuracy_weight is not the number of training examples, and no departure says so")
    if case.objective.accuracy_weight(0, 9, 7) != case.objective.accuracy_weight(8, 9, 7) and not found:
        raise Broken("accuracy_weight changes with the step, and no departure says so")
    ids = torch.tensor([[0]])
    if case.objective.example_weights(torch.ones(1, ENTRIES), ids, 1, draw.seed) is not None and not found:
        raise Broken("examples count differently for each network, and no departure says so")


LAWS = (
    Law(
        name="accuracy_counts",
        text="'accuracy_weight' returns a finite number, not below zero, always the same for the same step",
        cause="a division by zero in short trainings, a logarithm of zero, or a state that each call changes",
        holds=_counts,
    ),
    Law(
        name="example_weights_are_numbers",
        text="'example_weights' returns a finite number, not below zero, for every network and example, or None",
        cause="weights of the examples alone, a logarithm of zero, or a graph",
        holds=_example_weights,
    ),
    Law(
        name="examples_count_one",
        text="over many examples the weights of each network have the mean 1",
        cause="weights that are not divided by their mean, so that accuracy counts something else than it says",
        holds=_one_on_average,
    ),
    Law(
        name="networks_keep_their_data",
        text="what an example counts for a network depends on these two alone, not on their places or on the call",
        cause="numbers that each call draws anew, or that belong to places in the batch",
        holds=_own_data,
    ),
    Law(
        name="cost_has_the_weights_precision",
        text="the cost is a finite scalar in the weights' precision, or None",
        cause="a constant tensor in another precision, or a sum over some axes only",
        holds=_precision,
    ),
    Law(
        name="cost_is_a_mean",
        text="the cost of several networks is the mean of the costs of each by itself",
        cause="a sum over networks, or a mean over their entries too",
        holds=_averages,
    ),
    Law(
        name="cost_is_differentiable",
        text="the cost's gradient agrees with difference quotients",
        cause="weights that are detached",
        holds=_gradient,
    ),
    Law(
        name="departures_are_told",
        text="an objective that is meant to be the negative evidence lower bound lists what keeps it from being that",
        cause="a factor of the likelihood, a temperature, a schedule or weights of examples that it leaves out",
        holds=_departures,
    ),
)
