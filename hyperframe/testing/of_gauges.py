"""Laws of gauges: one representative for each orbit, with the same function; alone and in a list with others."""

from collections.abc import Callable, Mapping
from functools import cached_property

import attrs
import torch
from torch import Tensor

from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import KINDS, Action, Orbits, apply_action, random_action
from hyperframe.targets.weights import batch_size, flatten, slice_weights, unflatten
from hyperframe.testing.examples import EXAMPLES
from hyperframe.testing.laws import STEP, Broken, Case, Draw, Law, Vacuous, check_slope, farthest, relative
from hyperframe.testing.networks import TRACED, network
from hyperframe.testing.of_targets import TargetCase
from hyperframe.types import Gauge, Weights

Maker = Callable[[Orbits], Mapping[str, Gauge]]
"""Makes gauges, by name, for a target's symmetries."""

TOLERANCE = 1e-9
"""The error allowed in weights, relative to the largest of their layer."""

FUNCTION = 1e-7
"""The error allowed in outputs, relative to the largest."""

SINGLE = 1e-2
"""The error allowed in weights in single precision, relative to the largest of their layer."""

SLOPE = 1e-5
"""The largest derivative along a direction that counts as one the gauge fixes."""


class GaugeCase(Case):
    """A gauge, or a list of them, on one example network.

    Args:
        name: of the example.
        make: makes the gauges.
        others: makes all gauges that fix other kinds than these.
    """

    def __init__(self, name: str, make: Maker, others: Maker) -> None:
        self.name, self._make, self._others = name, make, others

    def gauge(self, net: TargetCase) -> ComposedGauge:
        """Return the gauges composed into one."""
        return ComposedGauge(self._make(net.orbits))

    def in_list(self, net: TargetCase) -> dict[str, Gauge]:
        """Return the gauges together with all others that fix other kinds."""
        return {**self._others(net.orbits), **self._make(net.orbits)}

    def gauges(self, net: TargetCase) -> dict[str, Gauge]:
        """Return the gauges one by one, by name."""
        return dict(self._make(net.orbits))

    @cached_property
    def fixes(self) -> frozenset[str]:
        """The kinds of symmetry that they fix together."""
        return frozenset().union(*(gauge.fixes for gauge in self.gauges(network(self.name, Draw())).values()))

    def network(self, draw: Draw) -> TargetCase:
        """Return the network of a draw; raises `Vacuous` if it has no symmetry that the gauges fix."""
        net = network(self.name, draw)
        if not any(net.orbits.counts[kind] for kind in self.fixes):
            raise Vacuous("the network has no symmetry that it fixes")
        return net


def gauge_cases(make: Maker, others: Maker) -> list[GaugeCase]:
    """Return a case for each example network."""
    return [GaugeCase(name, make, others) for name in [*EXAMPLES, *TRACED]]


def _declares(case: GaugeCase, draw: Draw) -> None:
    """`fixes` names kinds, one or more."""
    case.gauge(network(case.name, draw))


def _keeps(gauges: Mapping[str, Gauge], net: TargetCase, draw: Draw) -> None:
    weights, inputs, before = net.make(draw)
    after = net.outputs(ComposedGauge(gauges)(weights), inputs)
    difference = relative(_centre(before), _centre(after))
    if not difference <= FUNCTION:
        raise Broken(f"outputs change by {difference:.1e} of the largest")


def _centre(outputs: Tensor) -> Tensor:
    return outputs - outputs.mean(2, keepdim=True) if outputs.shape[2] > 1 else outputs * 0


def _same(gauges: Mapping[str, Gauge], net: TargetCase, draw: Draw) -> None:
    gauge = ComposedGauge(gauges)
    weights, *_ = net.make(draw)
    once = gauge(weights)
    for kind in KINDS:
        owner = next((part for part in gauges.values() if kind in part.fixes), None)
        if owner is None or not net.orbits.counts[kind]:
            continue
        action = random_action(net.orbits, batch_size(weights), draw.rng(), kinds=[kind], exponents=draw.exponents)
        action = _restrict(action, owner, net, weights)
        difference, layer = farthest(once, gauge(apply_action(net.orbits, action, weights)))
        if not difference <= TOLERANCE:
            where = f"layer '{layer}', orbit '{kind}'"
            raise Broken(f"the representatives of θ and Sθ differ by {difference:.1e} of the largest weight", where)


def _restrict(action: Action, owner: Gauge, net: TargetCase, weights: Weights) -> Action:
    """Restrict an action to the directions that a gauge fixes.

    For a gauge that fixes only some directions of the logit shift, these are found as the directions along which its
    derivative is zero; there must be as many as it declares.
    """
    wanted = owner.directions
    known = net.orbits.counts["logit_shift"]
    if action.shift is None or wanted is None or wanted == known:
        return action
    if not 0 <= wanted < known:
        raise Broken(f"it declares to fix {wanted} directions of the logit shift, of which there are {known}")
    size = action.shift.shape[1]
    one = {layer: theta[:1].expand(2 * size, -1, -1) for layer, theta in weights.items()}
    plain = random_action(net.orbits, 2 * size, torch.Generator().manual_seed(0), kinds=[])
    steps = STEP * torch.eye(size, dtype=torch.float64)
    moved = apply_action(net.orbits, attrs.evolve(plain, shift=torch.cat([steps, -steps])), one)
    there, back = flatten(net.spec, owner(moved)).split(size)
    _, values, directions = torch.linalg.svd((there - back).T / (2 * STEP), full_matrices=True)
    kept = torch.zeros(size, dtype=torch.float64)
    kept[: len(values)] = values
    fixed = directions[kept <= SLOPE]
    if len(fixed) != wanted:
        raise Broken(
            f"it declares to fix {wanted} directions of the logit shift, but is constant along {len(fixed)}",
            f"layer '{net.spec.logits}'",
        )
    return attrs.evolve(action, shift=action.shift @ fixed.T @ fixed)


def _twice(gauges: Mapping[str, Gauge], net: TargetCase, draw: Draw) -> None:
    gauge = ComposedGauge(gauges)
    weights, *_ = net.make(draw)
    once = gauge(weights)
    difference, layer = farthest(once, gauge(once))
    if not difference <= TOLERANCE:
        raise Broken(f"applied twice it changes weights by {difference:.1e} of the largest", f"layer '{layer}'")


def _alone(law: Callable[[Mapping[str, Gauge], TargetCase, Draw], None]) -> Callable[[GaugeCase, Draw], None]:
    def holds(case: GaugeCase, draw: Draw) -> None:
        net = case.network(draw)
        law(case.gauges(net), net, draw)

    return holds


def _in_lists(case: GaugeCase, draw: Draw) -> None:
    """A list of the gauge and all others that can be beside it keeps the laws as a whole."""
    net = case.network(draw)
    gauges = case.in_list(net)
    try:
        for law in (_keeps, _same, _twice):
            law(gauges, net, draw)
    except Broken as error:
        names = ", ".join(ComposedGauge(gauges).names)
        raise Broken(error.what, f"gauges [{names}]: {error.where}") from error


def _leaves(case: GaugeCase, draw: Draw) -> None:
    """Weights that differ by a kind of symmetry that a gauge does not declare have different representatives."""
    net = case.network(draw)
    gauge = case.gauge(net)
    weights, *_ = net.make(draw)
    for kind in KINDS:
        if kind in case.fixes or not net.orbits.counts[kind]:
            continue
        action = random_action(net.orbits, batch_size(weights), draw.rng(), kinds=[kind], exponents=draw.exponents)
        moved = apply_action(net.orbits, action, weights)
        differs = farthest(weights, moved)[0] > TOLERANCE
        if differs and farthest(gauge(weights), gauge(moved))[0] <= TOLERANCE:
            raise Broken(f"it fixes '{kind}' as well, which 'fixes' does not name")


def _moves(case: GaugeCase, draw: Draw) -> None:
    """Random weights are not their own representatives."""
    net = case.network(Draw(seed=draw.seed, networks=2))
    weights, *_ = net.make(draw)
    reach = sum(net.orbits.counts[kind] for kind in case.fixes)
    partial = [reach if part.directions is None else part.directions for part in case.gauges(net).values()]
    if not any(partial):
        raise Vacuous("it declares to fix no direction of this network")
    ordered = case.fixes <= {"permutation", "sign", "norm_sign"}  # few units may be in order by chance
    if farthest(weights, case.gauge(net)(weights))[0] <= TOLERANCE and not (ordered and reach < 8):
        raise Broken("it changes nothing, although the network has symmetries that it fixes")


def _differentiable(case: GaugeCase, draw: Draw) -> None:
    """Gradients are finite, even where filters are zero, and agree with difference quotients."""
    net = case.network(draw)
    gauge = case.gauge(net)
    weights, *_ = net.make(draw)
    probe = torch.randn(batch_size(weights), net.spec.num_weights, generator=draw.rng(), dtype=torch.float64)
    way = torch.randn(probe.shape, generator=draw.rng(), dtype=torch.float64)

    def value(flat: Tensor) -> Tensor:
        return (flatten(net.spec, gauge(unflatten(net.spec, flat))) * probe).sum()

    flat = flatten(net.spec, weights)
    leaf = flat.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), [leaf])
    ends = float(value(flat + STEP * way)), float(value(flat - STEP * way))
    check_slope(float((gradient * way).sum()), ends, float(gradient.norm()))
    for layer in net.spec.layers:
        leaves = {name: theta.clone() for name, theta in weights.items()}
        leaves[layer.name][:, 0] = 0
        leaves = {name: theta.requires_grad_() for name, theta in leaves.items()}
        gauged = gauge(leaves)
        total = torch.stack([theta.square().sum() for theta in gauged.values()]).sum()
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        values = [*gauged.values(), *(part for part in found if part is not None)]
        if not all(bool(part.isfinite().all()) for part in values):
            raise Broken("weights or gradient are not finite where a filter is zero", f"layer '{layer.name}'")


def _tidy(case: GaugeCase, draw: Draw) -> None:
    """Shapes and dtypes stay, the given weights do not change, and networks do not depend on each other."""
    net = case.network(draw)
    gauge = case.gauge(net)
    weights, *_ = net.make(draw)
    kept = {layer: theta.clone() for layer, theta in weights.items()}
    gauged = gauge(weights)
    for layer, theta in kept.items():
        if not torch.equal(theta, weights[layer]):
            raise Broken("it changes the weights that it was given in place", f"layer '{layer}'")
        if layer not in gauged or gauged[layer].shape != theta.shape or gauged[layer].dtype != theta.dtype:
            raise Broken("it changes the shape or the dtype", f"layer '{layer}'")
    for number in range(batch_size(weights)):
        row = slice(number, number + 1)
        difference, layer = farthest(slice_weights(gauged, row), gauge(slice_weights(weights, row)))
        if not difference <= TOLERANCE:
            raise Broken(f"network {number} depends on the others of its batch, by {difference:.1e}", layer)
    single = gauge({layer: theta.float() for layer, theta in weights.items()})
    if not all(theta.dtype == torch.float32 for theta in single.values()):
        raise Broken("for weights in single precision it returns another dtype")
    difference, layer = farthest(gauged, {layer: theta.double() for layer, theta in single.items()})
    if not difference <= SINGLE:
        raise Broken(f"in single precision it returns weights that differ by {difference:.1e}", f"layer '{layer}'")


LAWS = (
    Law(
        name="fixes_is_declared",
        text="'fixes' is a frozenset of kinds of symmetry",
        cause="a kind that does not exist",
        holds=_declares,
        examples=1,
    ),
    Law(
        name="function_is_kept",
        text="the representative computes the same function, up to changes that the task does not see",
        cause="a factor that is not applied to a tied writer or to a reader",
        holds=_alone(_keeps),
    ),
    Law(
        name="same_on_the_orbit",
        text="θ and Sθ have the same representative, for every S that the gauge fixes, unless a filter is all zeros",
        cause="an epsilon in a norm or a root, a sum instead of a mean, or a norm that depends on other factors",
        holds=_alone(_same),
    ),
    Law(
        name="twice_is_once",
        text="applied a second time it changes nothing",
        cause="a sum instead of a mean, or layers that are visited in another order than that of execution",
        holds=_alone(_twice),
    ),
    Law(
        name="in_lists",
        text="in a list with gauges for all other kinds these laws hold for the list as a whole",
        cause="a gauge that changes weights along orbits which another one fixes",
        holds=_in_lists,
        examples=2,
    ),
    Law(
        name="nothing_else_is_fixed",
        text="kinds that 'fixes' does not name are not fixed",
        cause="a kind that is missing in 'fixes', so that two gauges for one kind would go unnoticed",
        holds=_leaves,
    ),
    Law(
        name="is_not_the_identity",
        text="random weights are not their own representatives",
        cause="a kind of symmetry that is declared and never fixed",
        holds=_moves,
        examples=1,
    ),
    Law(
        name="is_differentiable",
        text="its gradient is finite, even where filters are zero, and agrees with difference quotients",
        cause="the root in a norm of zero, or a factor that is detached",
        holds=_differentiable,
    ),
    Law(
        name="networks_are_apart",
        text="shapes, dtypes and the given weights stay as they are, and no network depends on another one",
        cause="an in-place operation, or a mean over the wrong axis",
        holds=_tidy,
    ),
)
