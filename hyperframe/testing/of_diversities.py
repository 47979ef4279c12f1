"""Laws of diversity terms: symmetric copies are no diversity, networks are a set, gradients are finite."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.gauge import ComposedGauge
from hyperframe.generator import Generator
from hyperframe.objective import WeightedTerm, diversity_inputs
from hyperframe.spec import TargetSpec
from hyperframe.symmetry import KINDS, Orbits, apply_action, random_action
from hyperframe.testing.laws import STEP, Broken, Case, Draw, Law, Vacuous, check_slope
from hyperframe.testing.networks import network
from hyperframe.testing.of_targets import TargetCase
from hyperframe.types import DiversityInputs, DiversityTerm, Gauge, Weights
from hyperframe.weights import unflatten

NETWORKS = ("dense", "dense_tanh", "residual")
"""Examples that together have every kind of orbit."""

TOLERANCE = 1e-6
"""Of a value, relative to its size or 1."""

SEEDS = 8
"""So many seeds tell whether a value depends on random numbers."""


class _Linear(Generator):
    """Weights that are a smooth, injective function of a latent vector with as many entries: small, and in float64."""

    def __init__(self, spec: TargetSpec, rng: torch.Generator) -> None:
        super().__init__(spec, dimension=spec.num_weights)
        size = spec.num_weights
        start = torch.eye(size, dtype=torch.float64) + 0.1 * torch.randn(size, size, generator=rng, dtype=torch.float64)
        self.matrix = torch.nn.Parameter(start)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        return torch.randn(count, len(self.matrix), generator=rng, device=rng.device, dtype=torch.float64)

    def forward(self, z: Tensor) -> Weights:
        return unflatten(self.spec, z @ self.matrix)


class DiversityCase(Case):
    """A diversity term on one example network, with gauges that fix every kind of orbit.

    Args:
        name: of the example.
        term: the term.
        gauges: makes gauges that together fix all.
        fewest: how many networks the term needs at least.
    """

    def __init__(
        self, name: str, term: DiversityTerm, gauges: Callable[[Orbits], Mapping[str, Gauge]], fewest: int
    ) -> None:
        self.name, self.term, self._gauges, self._fewest = name, term, gauges, fewest

    def drawn(self, draw: Draw) -> tuple[TargetCase, Generator, Tensor]:
        """A network, a generator for it, and latent vectors of several networks."""
        net = network(self.name, draw)
        generator = _Linear(net.spec, draw.rng())
        return net, generator, generator.latent(self._fewest + draw.networks + 1, draw.rng())

    def value(self, net: TargetCase, generator: Generator, z: Tensor, weights: Weights, seed: int = 0) -> Tensor:
        """The term's value with random numbers of a seed; raises `Broken` where it is no finite scalar."""
        needs = getattr(self.term, "needs", None)
        fields = {field.name for field in attrs.fields(DiversityInputs)}
        if not isinstance(needs, frozenset) or not needs <= fields:
            raise Broken(f"needs must be a frozenset of {', '.join(sorted(fields))}, but is {needs!r}")
        inputs = diversity_inputs(
            [WeightedTerm(name=self.name, term=self.term, weight=1.0)],
            generator=generator,
            target=net.target,
            gauge=ComposedGauge(self._gauges(net.orbits)),
            z=z,
            weights=weights,
            rng=torch.Generator().manual_seed(seed),
        )
        value: Any = self.term(inputs)
        if not isinstance(value, Tensor) or value.dim():
            raise Broken(f"it gives {type(value).__name__}, not a tensor without axes")
        if not math.isfinite(float(value.detach())):
            raise Broken(f"its value is {float(value.detach())}")
        return value


def _agree(found: Tensor, expected: Tensor, what: str) -> None:
    error = abs(float(found.detach()) - float(expected.detach()))
    if not error <= TOLERANCE * max(1.0, abs(float(expected.detach()))):
        raise Broken(f"{what}: {float(found.detach()):.9g} in place of {float(expected.detach()):.9g}")


def _repeats(case: DiversityCase, draw: Draw) -> None:
    net, generator, z = case.drawn(draw)
    weights = generator(z)
    _agree(case.value(net, generator, z, weights), case.value(net, generator, z, weights), "the second time")


def _a_set(case: DiversityCase, draw: Draw) -> None:
    net, generator, z = case.drawn(draw)
    order = torch.randperm(len(z), generator=draw.rng())
    values = [case.value(net, generator, z, generator(z), seed).detach() for seed in range(SEEDS)]
    if len(set(map(float, values))) > 1:
        raise Vacuous("its value depends on random numbers")
    _agree(case.value(net, generator, z[order], generator(z[order])), values[0], "with the networks in another order")


def _copies(case: DiversityCase, draw: Draw) -> None:
    """Symmetric copies, of different networks and of one, are worth what the networks are worth."""
    net, generator, z = case.drawn(draw)
    spread, moved = _before_and_after(case, net, generator, z, draw)
    _agree(moved, spread, "with S_i θ_i in place of θ_i")
    copies, moved = _before_and_after(case, net, generator, z[:1].expand_as(z), draw)
    _not_below(moved, spread, "copies of one network under different symmetries")
    _not_below(copies, spread, "copies of one network")


def _before_and_after(
    case: DiversityCase, net: TargetCase, generator: Generator, z: Tensor, draw: Draw
) -> tuple[Tensor, Tensor]:
    """The values of networks, and of these under a random symmetry each."""
    weights = {layer: theta.detach() for layer, theta in generator(z).items()}
    action = random_action(net.orbits, len(z), draw.rng(), kinds=KINDS, exponents=min(draw.exponents, 6))
    moved = apply_action(net.orbits, action, weights)
    return case.value(net, generator, z, weights), case.value(net, generator, z, moved)


def _not_below(copies: Tensor, spread: Tensor, what: str) -> None:
    """A term is small where networks are diverse: copies must not be smaller."""
    found, other = float(copies.detach()), float(spread.detach())
    if found < other - TOLERANCE * max(1.0, abs(other)):
        raise Broken(f"{what} count as more diverse ({found:.6g}) than different networks ({other:.6g})")


def _gradients(case: DiversityCase, draw: Draw) -> None:
    net, generator, z = case.drawn(draw)
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
        if what == "different networks":
            _slope(case, net, generator, z, leaves, found[: len(leaves)])


def _slope(
    case: DiversityCase,
    net: TargetCase,
    generator: Generator,
    z: Tensor,
    leaves: Weights,
    found: tuple[Tensor | None, ...],
) -> None:
    rng = torch.Generator().manual_seed(1)
    way = {layer: torch.randn(theta.shape, generator=rng, dtype=torch.float64) for layer, theta in leaves.items()}
    ends = [
        float(
            case.value(
                net, generator, z, {layer: theta.detach() + step * way[layer] for layer, theta in leaves.items()}
            )
        )
        for step in (STEP, -STEP)
    ]
    parts = [(part, way[layer]) for layer, part in zip(leaves, found, strict=True) if part is not None]
    derivative = sum(float((part * direction).sum()) for part, direction in parts)
    check_slope(derivative, (ends[0], ends[1]), sum(float(part.norm()) for part, _ in parts))


LAWS = (
    Law(
        name="gives_a_number",
        text="'needs' names inputs, and the value is a finite scalar, the same for the same random numbers",
        cause="an input that is not in 'needs', or random numbers that do not come from inputs.rng",
        holds=_repeats,
    ),
    Law(
        name="networks_are_a_set",
        text="the order of the networks in a batch does not matter",
        cause="neighbours in the batch that are compared, where all pairs are meant",
        holds=_a_set,
    ),
    Law(
        name="copies_are_no_diversity",
        text="symmetric copies S_i θ_i are worth what the θ_i are worth, and copies of one network least of all",
        cause="a term that looks at the raw weights, not at 'flat', or that has its sign the wrong way round",
        holds=_copies,
    ),
    Law(
        name="gradients_are_finite",
        text="its gradient is finite, also where networks are equal, and agrees with difference quotients",
        cause="the logarithm, or the root, of a distance of zero",
        holds=_gradients,
    ),
)
