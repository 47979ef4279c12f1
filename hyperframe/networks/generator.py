"""The base class of generators: modules that draw latent vectors and turn them into weights."""

import math
from abc import abstractmethod
from typing import Any, Literal, Protocol

import attrs
import torch
from torch import Tensor, nn

from hyperframe.errors import MemoryShortageError
from hyperframe.options import option
from hyperframe.runtime.memory import missing_memory
from hyperframe.runtime.progress import quantity
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.types import Weights

NUMBERS_DRAWN_AT_ONCE = 1 << 23
"""Weights of all networks that are generated at a time: 32 MiB."""


class TrainingOptions(Protocol):
    """The training as a generator's own optimiser may know it: the section `trainer` of the configuration."""

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        ...

    @property
    def rate(self) -> float:
        """The highest rate."""
        ...

    @property
    def schedule(self) -> str:
        """How the rate changes."""
        ...

    @property
    def average_tail(self) -> float | None:
        """The part of the steps over which parameters are averaged."""
        ...

    @property
    def beta1(self) -> float:
        """Adam's decay of the mean."""
        ...

    @property
    def beta2(self) -> float:
        """Adam's decay of the square."""
        ...

    @property
    def epsilon(self) -> float:
        """The number that Adam adds to the root."""
        ...

    def cycle_at(self, step: int) -> range:
        """The steps of the rate's cycle in which a step lies; all steps where the schedule has no cycles."""
        ...


def too_many(count: int, why: str) -> str:
    """Say that so many networks do not fit into memory at once, why, and what helps.

    Example:
        >>> too_many(2000, "out of memory")
        '2,000 networks at once are too many: out of memory; draw fewer'
        >>> too_many(1, "out of memory")
        'not even one network fits: out of memory; take a smaller target or generator'
    """
    if count == 1:
        return f"not even one network fits: {why}; take a smaller target or generator"
    return f"{count:,} networks at once are too many: {why}; draw fewer"


class Generator(nn.Module):
    """Base class of generators: anything that draws weights of a target.

    All state lies in `state_dict`. A subclass implements `latent` and `forward`; the others have defaults.

    Attributes:
        spec: the target's spec.
        dimension: the dimension of the set of weights that it can draw, which entropy estimators take for d. It is at
            most the width of the narrowest place between z and the weights. Where weights are parameters themselves,
            it is the number of directions in which these can move.
        networks_per_step: how many networks every step of the training draws, each once; None where any number will do.
        minimum_batch: the fewest networks it can make at a time in training.
        latent_distribution: the distribution of each entry of z, around 0, where z is a vector [batch, entries] that
            analyses may move through and multiply by a scale; None where it is not, such as the number of a network.
    """

    minimum_batch: int = 1
    latent_distribution: Literal["uniform", "normal"] | None = None

    def __init__(
        self,
        spec: TargetSpec,
        dimension: int,
        networks: int | None = None,
        networks_per_step: int | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.dimension = dimension
        self._networks = networks
        self.networks_per_step = networks if networks_per_step is None else networks_per_step

    @property
    def networks(self) -> int | None:
        """How many different networks it holds in evaluation mode; None where there is no end to them.

        In training mode it draws `networks_per_step` of them, by default all. Where it collects networks while it is
        trained, the number is that of the state it is in.
        """
        return self._networks

    @abstractmethod
    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw latent vectors [count, …] on the device of `rng`."""

    @abstractmethod
    def forward(self, z: Tensor) -> Weights:
        """Turn latent vectors into weights."""

    def code(self, z: Tensor) -> Tensor:
        """Return rows of numbers that tell networks apart [networks, entries], from which their data may be drawn.

        By default z itself. A generator whose z holds the number of a network, the size of which means nothing, makes
        it one-hot.
        """
        return z.reshape(len(z), -1)

    def at_most(self, count: int) -> int:
        """Return `count`, or the number of networks it holds where that is less."""
        return count if self.networks is None else min(count, self.networks)

    def penalty(self, z: Tensor, weights: Weights) -> Tensor | None:
        """A term of the loss of the generator's own, such as a divergence from a prior, differentiable; or None."""
        return None

    def latent_entropy(self) -> float | None:
        """Differential entropy of one z in nats; None where z has no density, such as the number of a network."""
        return None

    def is_injective(self) -> bool:
        """Whether different z give different weights for almost all parameters; False where that is not known."""
        return False

    def departures(self) -> list[str]:
        """Say what keeps its draws from having a density among all weights, each as the end of a sentence about it.

        See `hyperframe.experiment.bound`, which itself tries out whether the z of a batch have an effect on each other.
        """
        reasons, weights = [], self.spec.num_weights
        if self.networks is not None:
            reasons.append(f"holds {quantity(self.networks, 'network')}: q is no density")
        elif self.dimension < weights:
            reasons.append(
                f"makes draws of {quantity(self.dimension, 'dimension')}, and the weights have {weights:,}: q has no "
                "density among all weights, and its entropy is the one on its own manifold"
            )
        if type(self).penalty is not Generator.penalty:
            reasons.append("adds a penalty of its own to the loss")
        return reasons

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Its parameters in groups, each with its rate as a part of the trainer's; all that are trained, each once."""
        return [(1.0, list(self.parameters()))]

    def make_optimizer(self, groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
        """Make what moves the parameters, when a training begins or goes on; by default Adam (D. Kingma, J. Ba, 2015).

        Before each step the trainer sets the rate of every group, `lr`, and gives the optimiser an attribute
        `found_inf`, a scalar on the device: where it is 1, a step must leave parameters and state as they are, without
        waiting for the device. All its state must be tensors of `Optimizer.state`, which checkpoints keep; random
        numbers come from torch's global generator of the parameters' device, whose state they keep too.

        Args:
            groups: those of `parameter_groups`, in their order, each with its `params`.
            options: of the training. What does not suit the generator raises `ConfigError`; nothing is written yet.
        """
        betas = (options.beta1, options.beta2)
        return torch.optim.Adam(groups, lr=options.rate, betas=betas, eps=options.epsilon, fused=True)

    def base_points(self) -> Weights | None:
        """Its base points, parameters at or around which all draws are: for each layer [points, filters, filter_size].

        With trained weights (`target.weights`) a new training lets all of them begin there, before `before_training`.
        None where it has none, as by default.
        """
        return None

    def before_training(self) -> None:
        """Called once before the first step of a new training, and not where a run is read or goes on.

        Its state may be that of another training (`trainer.from`): what was collected there is forgotten here. What it
        raises ends the training before anything is written.
        """

    def before_step(self, step: int, steps: int) -> None:
        """Called before every step, counted from 0, of so many: for what changes in the course of a training.

        What `latent`, `forward`, `code` and `penalty` do differently then must lie in tensors that change in place: on
        CUDA devices they are recorded in the fourth step and replayed in later ones (`trainer.cuda_graph`).
        """

    def after_step(self, step: int, steps: int) -> None:
        """Called after every optimiser step, counted from 0, of so many: for state that the optimiser does not move.

        It must lie in tensors, see `before_step`.
        """

    def describe(self) -> dict[str, Any]:
        """Its size, as plain data; `parameters` counts what is trained."""
        return {"parameters": sum(parameter.numel() for parameter in self.parameters())}


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class LatentOptions:
    """The distribution of z: its options, for generators that have it, and how it is drawn from."""

    latent: int = option(64, "number of entries of z", minimum=1)
    latent_distribution: Literal["uniform", "normal"] = option("uniform", "distribution of z")
    latent_scale: float = option(1.0, "half width (uniform) or standard deviation (normal) of z", above=0)

    def draw_latent(self, count: int, rng: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw z, shape [count, latent]; raises `MemoryShortageError` where that does not fit into memory."""
        missing = missing_memory(count * self.latent * dtype.itemsize) if rng.device.type == "cpu" else None
        if missing:
            raise MemoryShortageError(too_many(count, missing))
        z = torch.empty(count, self.latent, device=rng.device, dtype=dtype)
        if self.latent_distribution == "normal":
            return self.latent_scale * z.normal_(generator=rng)
        return self.latent_scale * (2 * z.uniform_(generator=rng) - 1)

    @property
    def entropy(self) -> float:
        """Differential entropy of z in nats: n log(2s) for n uniform entries, n/2 log(2πe s²) for normal ones.

        Example:
            >>> LatentOptions(latent=3, latent_scale=0.5).entropy
            0.0
        """
        if self.latent_distribution == "normal":
            return self.latent * (math.log(self.latent_scale) + math.log(2 * math.pi * math.e) / 2)
        return self.latent * math.log(2 * self.latent_scale)

    @property
    def latent_variance(self) -> float:
        """Variance of one entry."""
        return self.latent_scale**2 * (1 if self.latent_distribution == "normal" else 1 / 3)


def initial_std(spec: TargetSpec, layer: LayerSpec) -> Tensor:
    """Standard deviation each entry of a filter should start with, so that signals keep their size; [filter_size].

    Kernels: √(gain / fan_in) with gain 2 before a ReLU and 1 elsewhere (He et al. 2015); biases: 1 / √(3·fan_in), the
    standard deviation of torch's own; scales and shifts: 0, see `initial_mean`. Of an embedding's inputs, its rows, one
    alone is looked up at a time: its fan-in is 1, whose standard deviation is that of torch's own.
    """
    operations = spec.ops_behind(layer)
    rectified = any(op in ("relu", "leaky_relu") for op in operations)
    fan_in = 1 if not layer.reads and "embedding" in operations else max(layer.fan_in, 1)
    of_role = {
        "kernel": math.sqrt((2 if rectified else 1) / fan_in),
        "bias": 1 / math.sqrt(3 * fan_in),
        "scale": 0.0,
        "shift": 0.0,
    }
    return _by_role(layer, of_role)


def initial_mean(layer: LayerSpec) -> Tensor:
    """The value generated entries are added to: 1 for a normalisation's scale, 0 for all else; [filter_size]."""
    return _by_role(layer, {"kernel": 0.0, "bias": 0.0, "scale": 1.0, "shift": 0.0})


def initial_weights(spec: TargetSpec, networks: int, rng: torch.Generator | None = None) -> Weights:
    """Weights before any training: normal numbers with `initial_mean` and `initial_std`, on the CPU.

    Args:
        spec: the target's.
        networks: how many.
        rng: of the numbers, on the CPU; None: the global one.

    Returns:
        For each layer [networks, filters, filter_size].
    """
    weights = {}
    for layer in spec.layers:
        noise = torch.randn(networks, layer.filters, layer.filter_size, generator=rng)
        weights[layer.name] = initial_mean(layer) + initial_std(spec, layer) * noise
    return weights


def _by_role(layer: LayerSpec, values: dict[str, float]) -> Tensor:
    entries = torch.zeros(layer.filter_size)
    for role, place in layer.columns.items():
        entries[place] = values[role]
    return entries


def split_latent(generator: Generator, z: Tensor) -> tuple[Tensor, ...]:
    """Split z so that the weights of each part are few numbers: a part of one network, if that has many."""
    parts: tuple[Tensor, ...] = z.split(max(1, NUMBERS_DRAWN_AT_ONCE // generator.spec.num_weights))
    return parts


def generate_in_parts(generator: Generator, z: Tensor) -> Weights:
    """Generate weights of all z, some at a time, into memory that holds them all."""
    drawn, first = Weights(), 0
    for some in split_latent(generator, z):
        part: Weights = generator(some)
        if len(some) == len(z):
            return part
        for layer, weights in part.items():
            if not first:
                drawn[layer] = weights.new_empty(len(z), *weights.shape[1:])
            drawn[layer][first : first + len(some)] = weights
        first += len(some)
    return drawn
