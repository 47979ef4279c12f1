"""Laws of diversity terms: symmetric copies add no diversity, networks have no order, gradients are finite.

A term that compares outputs makes inputs of the task's form by the random numbers that it is given.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.errors import ConfigError
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.terms import WeightedTerm, check_inputs
from hyperframe.networks.generator import Generator
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import KINDS, Orbits, apply_action, random_action
from hyperframe.targets.weights import unflatten
from hyperframe.testing.laws import STEP, Broken, Case, Draw, Law, Vacuous, check_slope
from hyperframe.testing.networks import Classes, network
from hyperframe.testing.of_targets import TargetCase
from hyperframe.types import Data, DiversityInputs, DiversityTerm, Gauge, Objective, Weights

NETWORKS = ("dense", "dense_tanh", "residual")
"""Examples that together have every kind of orbit."""

TOLERANCE = 1e-6
"""The error allowed in a value, relative to its size or 1."""

LATENT = 6
"""The most entries of z."""

IMAGES = 8
"""Inputs that all networks see, for terms that compare outputs; normalisations over the batch need several."""

INPUT_EXAMPLES = 5
"""How many sizes of each network the laws of inputs are tried on."""

SEEDS = 4
"""The number of seeds that are compared to see whether a value depends on random numbers."""


class _Linear(Generator):
    """Weights that are a smooth, injective function of a latent vector: small, and in float64."""

    def __init__(self, spec: TargetSpec, size: int, rng: torch.Generator) -> None:
        super().__init__(spec, dimension=size)
        start = torch.eye(size, spec.num_weights, dtype=torch.float64)
        noise = torch.randn(start.shape, generator=rng, dtype=torch.float64)
        self.matrix = torch.nn.Parameter(start + 0.1 * noise)
        self.offset = torch.nn.Parameter(torch.randn(spec.num_weights, generator=rng, dtype=torch.float64))

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, len(self.matrix), generator=rng, device=rng.device, dtype=torch.float64)

    def latent_entropy(self) -> float:
        return len(self.matrix) * math.log(2 * math.pi * math.e) / 2

    def forward(self, z: Tensor) -> Weights:
        return unflatten(self.spec, self.offset + z @ self.matrix)


class _Nothing(Objective):
    """Nothing counts but diversity."""

    def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        """Say that accuracy does not count."""
        return 0.0


class DiversityCase(Case):
    """A diversity term on one example network, with gauges that fix every kind of orbit.

    Args:
        name: of the example.
        term: the term.
        gauges: makes gauges that together fix all kinds.
    """

    def __init__(self, name: str, term: DiversityTerm, gauges: Callable[[Orbits], Mapping[str, Gauge]]) -> None:
        self.name, self.term, self._gauges = name, term, gauges
        self._losses: dict[TargetCase, BatchLoss] = {}

    def make(self, draw: Draw) -> tuple[TargetCase, Generator, Tensor]:
        """Make a network, a generator for it, and latent vectors of several networks."""
        net = network(self.name, draw)
        generator = _Linear(net.spec, max(1, min(LATENT, self._loss(net).directions // 2)), draw.rng())
        fewest = self.term.minimum_networks
        return net, generator, generator.latent(fewest + draw.networks + 1, draw.rng())

    def _loss(self, net: TargetCase) -> BatchLoss:
        if net not in self._losses:
            self._losses[net] = self._make_loss(net)
        return self._losses[net]

    def _make_loss(self, net: TargetCase) -> BatchLoss:
        gauge = ComposedGauge(self._gauges(net.orbits))
        return BatchLoss(
            _Nothing(),
            target=net.target,
            task=Classes(net.spec),
            gauge=gauge,
            directions=gauge.directions(net.spec.num_weights, net.orbits.counts),
            terms=[WeightedTerm(name=self.name, term=self.term, weight=1.0)],
            chunk=1,
        )

    def value(self, net: TargetCase, generator: Generator, z: Tensor, weights: Weights, seed: int = 0) -> Tensor:
        """Return the term's value with random numbers of a seed; raises `Broken` if it is no finite scalar."""
        needs = self.term.needs
        fields = {field.name for field in attrs.fields(DiversityInputs)}
        if not isinstance(needs, frozenset) or not needs <= fields:
            raise Broken(f"needs must be a frozenset of {', '.join(sorted(fields))}, but is {needs!r}")
        loss, rng = self._loss(net), torch.Generator().manual_seed(seed)
        shared = self.shared(net, IMAGES) if loss.compares_outputs else None
        inputs = loss.inputs(generator, z, weights, rng, shared)
        if shared is not None and "outputs" in needs:
            inputs = attrs.evolve(inputs, outputs=net.outputs(weights, self.made(shared)))
        value: Any = self.term(inputs)
        if not isinstance(value, Tensor) or value.dim():
            raise Broken(f"it gives {type(value).__name__}, not a tensor without axes")
        if not math.isfinite(float(value.detach())):
            raise Broken(f"its value is {float(value.detach())}")
        return value

    def shared(self, net: TargetCase, count: int, dtype: torch.dtype = torch.float64) -> Data:
        """Return examples for a network and their labels, the same ones every time."""
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(count, *net.spec.input_shape, generator=draw, dtype=dtype)
        return Data(x, torch.randint(net.spec.num_outputs, (count,), generator=draw))

    def made(self, shared: Data) -> Tensor:
        """Make the inputs on which the term compares outputs, by the same random numbers every time.

        Raises:
            Vacuous: it cannot make them of examples of this shape, and says so.
        """
        try:
            return self.term.inputs(shared, torch.Generator().manual_seed(0))
        except ConfigError as error:
            raise Vacuous(f"it does not take such examples: {error}") from error

    def random(self, net: TargetCase, generator: Generator, z: Tensor) -> bool:
        """Whether the term's value depends on its random numbers."""
        if "rng" not in self.term.needs:
            return False
        weights = {layer: theta.detach().requires_grad_() for layer, theta in generator(z).items()}
        return len({float(self.value(net, generator, z, weights, seed).detach()) for seed in range(SEEDS)}) > 1


def _agree(found: Tensor, expected: Tensor, what: str) -> None:
    error = abs(float(found.detach()) - float(expected.detach()))
    if not error <= TOLERANCE * max(1.0, abs(float(expected.detach()))):
        raise Broken(f"{what}: {float(found.detach()):.9g} in place of {float(expected.detach()):.9g}")


def _repeats(case: DiversityCase, draw: Draw) -> None:
    net, generator, z = case.make(draw)
    weights = generator(z)
    _agree(case.value(net, generator, z, weights), case.value(net, generator, z, weights), "the second time")


def _a_set(case: DiversityCase, draw: Draw) -> None:
    net, generator, z = case.make(draw)
    order = torch.randperm(len(z), generator=draw.rng())
    if case.random(net, generator, z):
        raise Vacuous("its value depends on random numbers")
    value = case.value(net, generator, z, generator(z))
    _agree(case.value(net, generator, z[order], generator(z[order])), value, "with the networks in another order")


def _copies(case: DiversityCase, draw: Draw) -> str | None:
    """Symmetric copies, of different networks or of one, have the same value as the networks themselves."""
    net, generator, z = case.make(draw)
    spread, moved = _before_and_after(case, net, generator, z, draw)
    _agree(moved, spread, "with S_i θ_i in place of θ_i")
    if case.random(net, generator, z):
        return "its value depends on random numbers, so copies of one network were not compared"
    of_each = [_before_and_after(case, net, generator, one.expand_as(z), draw) for one in z.split(1)]
    copies, moved = (torch.stack(values).mean() for values in zip(*of_each, strict=True))
    _not_below(moved, spread, "copies of one network under different symmetries")
    _not_below(copies, spread, "copies of one network")
    return None


def _before_and_after(
    case: DiversityCase, net: TargetCase, generator: Generator, z: Tensor, draw: Draw
) -> tuple[Tensor, Tensor]:
    """Return the value of networks, and of the same networks each under a random symmetry, without a graph."""
    weights = {layer: theta.detach().requires_grad_() for layer, theta in generator(z).items()}
    action = random_action(net.orbits, len(z), draw.rng(), kinds=KINDS, exponents=min(draw.exponents, 6))
    moved = apply_action(net.orbits, action, weights)
    return case.value(net, generator, z, weights).detach(), case.value(net, generator, z, moved).detach()


def _not_below(copies: Tensor, spread: Tensor, what: str) -> None:
    """Check that copies do not have a lower value than different networks; a term is low where networks are diverse."""
    found, other = float(copies.detach()), float(spread.detach())
    if found < other - TOLERANCE * max(1.0, abs(other)):
        raise Broken(f"{what} count as more diverse ({found:.6g}) than different networks ({other:.6g})")


def _inputs(case: DiversityCase, draw: Draw) -> Iterator[tuple[Data, Tensor]]:
    """Give shared examples, several and one alone, in both precisions, and the inputs that the term makes of them."""
    if "outputs" not in case.term.needs:
        raise Vacuous("it compares no outputs")
    net = network(case.name, draw)
    for count in (IMAGES, 1):
        for dtype in (torch.float64, torch.float32):
            shared = case.shared(net, count, dtype)
            yield shared, case.made(shared)


def _inputs_repeat(case: DiversityCase, draw: Draw) -> None:
    for shared, x in _inputs(case, draw):
        if not torch.equal(x, case.made(shared)):
            raise Broken("they are other ones the second time")


def _inputs_fit(case: DiversityCase, draw: Draw) -> None:
    for shared, x in _inputs(case, draw):
        try:
            check_inputs(case.name, x, shared.x)
        except ConfigError as error:
            raise Broken(str(error)) from error
        if x.device != shared.x.device:
            raise Broken(f"they lie on {x.device}, the shared examples on {shared.x.device}")
        if not bool(x.isfinite().all()):
            raise Broken(f"of {len(shared)} shared examples, all of them finite, they are not")


def _inputs_leave_examples(case: DiversityCase, draw: Draw) -> None:
    for shared, _ in _inputs(case, draw):
        if not torch.equal(shared.x, case.shared(network(case.name, draw), len(shared), shared.x.dtype).x):
            raise Broken("the shared examples have changed")


def _gradients(case: DiversityCase, draw: Draw) -> None:
    net, generator, z = case.make(draw)
    copies = z[:1].expand_as(z)
    for what, latent in (("different networks", z), ("equal networks", copies)):
        leaves = {layer: theta.detach().requires_grad_() for layer, theta in generator(latent).items()}
        value = case.value(net, generator, latent, leaves)
        if not value.requires_grad:
            if float(value) != float(case.value(net, generator, copies, generator(copies))):
                raise Broken("its value changes with the weights, and has no gradient at them")
            return
        wanted = [*leaves.values(), *generator.parameters()]
        found = torch.autograd.grad(value, wanted, allow_unused=True)
        if not all(bool(part.isfinite().all()) for part in found if part is not None):
            raise Broken(f"its gradient is not finite for {what}")
        if what == "different networks" and not case.term.own_gradient and not case.random(net, generator, z):
            _slope(case, net, generator, z, leaves, found)


def _slope(
    case: DiversityCase,
    net: TargetCase,
    generator: Generator,
    z: Tensor,
    weights: Weights,
    found: tuple[Tensor | None, ...],
) -> None:
    """Compare the gradient at weights and parameters with the difference quotient along a random direction."""
    rng, parameters = torch.Generator().manual_seed(1), list(generator.parameters())
    places = [*weights.values(), *parameters]
    way = [torch.randn(place.shape, generator=rng, dtype=torch.float64) for place in places]

    def moved(step: float) -> float:
        values = [place.detach() + step * part for place, part in zip(places, way, strict=True)]
        other = copy.deepcopy(generator)
        for parameter, value in zip(other.parameters(), values[len(weights) :], strict=True):
            parameter.data = value
        return float(case.value(net, other, z, dict(zip(weights, values, strict=False))).detach())

    parts = [(part, direction) for part, direction in zip(found, way, strict=True) if part is not None]
    derivative = sum(float((part * direction).sum()) for part, direction in parts)
    check_slope(derivative, (moved(STEP), moved(-STEP)), sum(float(part.norm()) for part, _ in parts))


LAWS = (
    Law(
        name="inputs_repeat",
        text="the inputs on which it compares outputs are the same for the same random numbers",
        cause="random numbers that do not come from the generator that 'inputs' is given",
        holds=_inputs_repeat,
        examples=INPUT_EXAMPLES,
    ),
    Law(
        name="inputs_fit",
        text="these inputs have the shape, the type and the device of the shared examples, and are finite, also of one",
        cause="random numbers without dtype and device of the examples, or a deviation of one example",
        holds=_inputs_fit,
        examples=INPUT_EXAMPLES,
    ),
    Law(
        name="inputs_leave_examples",
        text="making them leaves the shared examples as they are",
        cause="an operation in place, whose name ends with an underscore",
        holds=_inputs_leave_examples,
        examples=INPUT_EXAMPLES,
    ),
    Law(
        name="gives_a_number",
        text="'needs' names fields of the inputs; the value is a finite scalar, the same for the same random numbers",
        cause="an input that is not in 'needs', or random numbers that do not come from inputs.rng",
        holds=_repeats,
    ),
    Law(
        name="networks_are_a_set",
        text="the order of the networks in a batch does not matter",
        cause="comparing neighbours in the batch instead of all pairs",
        holds=_a_set,
    ),
    Law(
        name="copies_are_no_diversity",
        text="symmetric copies S_i θ_i count as diverse as the θ_i, and N copies of one network on average not more",
        cause="a term that uses the raw weights, not 'flat', or that has the wrong sign",
        holds=_copies,
    ),
    Law(
        name="gradients_are_finite",
        text="its gradient is finite, even where networks are equal, and agrees with difference quotients",
        cause="the logarithm or the root of a distance of zero",
        holds=_gradients,
    ),
)
