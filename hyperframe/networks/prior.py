"""Additive prior functions: a mixture of fixed random networks, drawn with each network and added to its outputs."""

import math
from collections.abc import Mapping
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.networks.generator import Generator, TrainingOptions
from hyperframe.networks.target import Target
from hyperframe.runtime.memory import missing_memory
from hyperframe.targets.params import shift
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.types import Weights

NETWORK = "network."
"""How the names of the network's own parameters begin where it has prior functions."""

LAYER = "prior functions"
"""Name of the layer of a target's weights that holds the coefficients."""


def without_prior(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's own tensors, by their own names, of those of a network with prior functions.

    Example:
        >>> list(without_prior({"network.0.weight": torch.ones(1), "prior.last": torch.ones(1)}))
        ['0.weight']
    """
    return {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}


class PriorFunctions(nn.Module):
    """Σ_i c_i g_i(x), with c_i the module's parameters and g_i fixed random networks with one hidden layer.

    g_i(x) = s V_i relu(W_i x + b_i) / √F, with F functions and normal entries, such that for normal c and inputs whose
    entries have the mean square 1 every output has the standard deviation s.

    Args:
        inputs: entries of one input.
        outputs: how many there are.
        functions: how many g_i.
        hidden: hidden units of each.
        scale: s.
        rng: of all that is drawn, on the CPU.
    """

    def __init__(
        self, inputs: int, outputs: int, *, functions: int, hidden: int, scale: float, rng: torch.Generator
    ) -> None:
        super().__init__()
        units = functions * hidden
        self.register_buffer("first", torch.randn(units, inputs, generator=rng) / math.sqrt(max(inputs, 1)))
        self.register_buffer("bias", torch.randn(units, generator=rng))
        last = torch.randn(functions, outputs, hidden, generator=rng)
        self.register_buffer("last", scale / math.sqrt(units) * last)
        self.coefficients = nn.Parameter(torch.zeros(functions))

    def forward(self, x: Tensor) -> Tensor:
        """Turn inputs [examples, ...] into the mixture's outputs [examples, outputs]."""
        first, bias, last = (self.get_buffer(name) for name in ("first", "bias", "last"))
        hidden = F.relu(F.linear(x.flatten(1), first, bias))
        mixed = self.coefficients[:, None, None] * last
        return F.linear(hidden, mixed.transpose(0, 1).flatten(1))


class WithPrior(nn.Module):
    """A network with a prior function that is added to its outputs: f(x) = T(x; θ) + Σ_i c_i g_i(x)."""

    def __init__(self, network: nn.Module, prior: PriorFunctions) -> None:
        super().__init__()
        self.network = network
        self.prior = prior

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs [examples, outputs, *places]."""
        outputs: Tensor = self.network(x)
        prior: Tensor = self.prior(x)
        return outputs + prior.view_as(outputs)


def with_prior(target: Target, *, functions: int, hidden: int, scale: float, rng: torch.Generator) -> Target:
    """Return a target of the same networks with prior functions, see `PriorFunctions`.

    The coefficients are a layer of its weights, the last one, which `TargetSpec.drawn` lists; none of the network's
    symmetries moves them. The network's parameters are found below `network`.

    References: I. Osband, J. Aslanides, A. Cassirer (2018), Randomized Prior Functions; V. Dwaracherla et al. (2020),
    Hypermodels for Exploration.

    Raises:
        ConfigError: the target takes whole numbers, of which random networks make nothing.
        MemoryShortageError: the random networks do not fit into memory.
    """
    if target.tried_on.whole:
        raise ConfigError(
            f"prior.functions: target '{target.spec.name}' looks its inputs up in a table, and random functions of "
            "such numbers mean nothing; leave them out (prior.functions=0)"
        )
    inputs, outputs = math.prod(target.spec.input_shape), math.prod(target.spec.output_shape)
    missing = missing_memory(4 * functions * hidden * (inputs + outputs))
    if missing:
        raise MemoryShortageError(f"prior.functions={functions:,} with prior.hidden={hidden:,} are too many: {missing}")
    prior = PriorFunctions(inputs, outputs, functions=functions, hidden=hidden, scale=scale, rng=rng)
    module = WithPrior(target.template(), prior)
    layers = [_below_network(layer) for layer in target.spec.layers]
    layers.append(LayerSpec(name=LAYER, filters=functions, params=[shift("prior.coefficients")]))
    spec = attrs.evolve(target.spec, layers=layers, drawn=[LAYER]).bind(module)
    axes = tuple(attrs.evolve(axis, parameter=f"{NETWORK}{axis.parameter}") for axis in target.structure.axes)
    structure = attrs.evolve(target.structure, spec=spec, axes=axes)
    found = Target(module, spec, structure, target.frozen, target.tried_on)
    found.inputs = target.inputs
    return found


def _below_network(layer: LayerSpec) -> LayerSpec:
    params = [attrs.evolve(param, parameter=f"{NETWORK}{param.parameter}") for param in layer.params]
    return attrs.evolve(layer, params=params)


class GeneratorWithPrior(Generator):
    """Generates the trained layers by another generator, and draws the prior's coefficients beside them.

    c = P code / ‖code‖ with a fixed matrix P of standard normal entries, so that the coefficients of a network are
    standard normal over the draws of P, and those of two networks correlate by the cosine of their codes. c is a
    function of z alone: no training moves it and no gradient passes it.

    Args:
        inner: generates the trained layers.
        spec: of the target with a prior.
        rng: of P, on the CPU.
    """

    def __init__(self, inner: Generator, spec: TargetSpec, rng: torch.Generator) -> None:
        super().__init__(spec, inner.dimension, networks_per_step=inner.networks_per_step)
        self.inner = inner
        self.minimum_batch = inner.minimum_batch
        self.latent_distribution = inner.latent_distribution
        entries = inner.code(inner.latent(1, torch.Generator().manual_seed(0))).shape[1]
        functions = spec.layer(LAYER).filters
        self.register_buffer("projection", torch.randn(entries, functions, generator=rng))

    @property
    def networks(self) -> int | None:
        """How many networks the inner generator holds."""
        return self.inner.networks

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the inner generator's z."""
        return self.inner.latent(count, rng)

    def forward(self, z: Tensor) -> Weights:
        """Turn z into weights, the coefficients among them."""
        return {**self.inner(z), LAYER: self.coefficients(z)[:, :, None]}

    @torch.no_grad()
    def coefficients(self, z: Tensor) -> Tensor:
        """The coefficients c of networks, [networks, functions]."""
        projection = self.get_buffer("projection")
        return F.normalize(self.code(z).detach().to(projection), dim=1) @ projection

    def code(self, z: Tensor) -> Tensor:
        """Return what tells networks apart, as the inner generator does."""
        return self.inner.code(z)

    def at_most(self, count: int) -> int:
        """Return `count`, or the number of networks that the inner generator holds where that is less."""
        return self.inner.at_most(count)

    def penalty(self, z: Tensor, weights: Weights) -> Tensor | None:
        """The inner generator's own term of the loss."""
        return self.inner.penalty(z, {name: weights[name] for name in self.inner.spec.layer_names})

    def latent_entropy(self) -> float | None:
        """The entropy of z in nats."""
        return self.inner.latent_entropy()

    def is_injective(self) -> bool:
        """Whether different z give different weights."""
        return self.inner.is_injective()

    def departures(self) -> list[str]:
        """The inner generator's, and that the coefficients follow from z."""
        reason = "draws a prior's coefficients as a function of z: q has no density among all weights"
        return [*self.inner.departures(), reason]

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """The inner generator's."""
        return self.inner.parameter_groups()

    def make_optimizer(self, groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
        """The inner generator's."""
        return self.inner.make_optimizer(groups, options)

    def base_points(self) -> Weights | None:
        """The inner generator's."""
        return self.inner.base_points()

    def before_training(self) -> None:
        """Let the inner generator prepare itself."""
        self.inner.before_training()

    def before_step(self, step: int, steps: int) -> None:
        """Let the inner generator prepare the step."""
        self.inner.before_step(step, steps)

    def after_step(self, step: int, steps: int) -> None:
        """Let the inner generator see the step."""
        self.inner.after_step(step, steps)

    def describe(self) -> dict[str, Any]:
        """The inner generator's description, and the size of the prior."""
        entries, functions = self.get_buffer("projection").shape
        return {**self.inner.describe(), "prior": {"functions": functions, "code": entries}}
