"""The base class of generators that collect states of chains along one training; no component of its own."""

from collections.abc import Sequence
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe import Generator, Weights, option
from hyperframe.errors import ConfigError
from hyperframe.networks import TrainingOptions, initial_weights
from hyperframe.targets import TargetSpec, flatten, unflatten


@attrs.frozen(kw_only=True)
class ChainOptions:
    """How many chains there are, and how many states of each are kept."""

    chains: int = option(4, "how many chains run beside each other; trainer.networks must be the same", minimum=1)
    states: int = option(10, "how many states of each chain are kept", minimum=1)


@attrs.frozen(kw_only=True)
class BurntInOptions(ChainOptions):
    """Those of chains that first have to find where they stay."""

    burn_in: float = option(
        0.5, "the part of the steps, at the beginning, in which nothing is collected", minimum=0, below=1
    )


class Chains(Generator):
    """Networks whose weights are parameters, trained at once, of which each leaves states behind on its way.

    In training z is the number of a chain. In evaluation mode it is the number of a collected state: number · chains +
    chain; before anything is collected the current states of the chains stand for them. So the networks that it holds
    grow from `chains` to `chains` · `states` in the course of the training. Fewer are drawn without replacement; as
    many as it holds gives each once, in order.

    The collected states are a buffer of fixed size. When a run goes on for more steps than it was begun with, those of
    the longer training take the places of the older ones, one after the other.

    The loss is a mean over the chains: each chain's own gradient is `chains` times what its parameters get of it.

    Args:
        name: of the generator, for messages.
        options: its options.
        spec: the target's.

    Raises:
        ConfigError: more networks are drawn than it holds.
    """

    def __init__(self, name: str, options: ChainOptions, spec: TargetSpec) -> None:
        super().__init__(spec, dimension=spec.num_weights, networks_per_step=options.chains)
        self.name = name
        self.chains = options.chains
        self.points = nn.Parameter(flatten(spec, initial_weights(spec, options.chains)))
        self.register_buffer("states", torch.zeros(options.states, options.chains, spec.num_weights))
        self.register_buffer("collected", torch.zeros((), dtype=torch.int64))
        self._slots: dict[int, int] = {}
        self._collected = 0  # the same number on the host, so that nobody waits for the device to hear it
        self.register_load_state_dict_post_hook(_count)

    @property
    def networks(self) -> int:
        """How many networks it holds in evaluation mode: all states that are collected, or else one of each chain."""
        return self.chains * max(1, self._collected)

    def stages(self, training: TrainingOptions) -> Sequence[range]:
        """The steps from which states are collected, in order, in one stage or several."""
        raise NotImplementedError

    def optimizer(self, groups: list[dict[str, Any]], training: TrainingOptions) -> torch.optim.Optimizer:
        """Make what moves the chains; by default the trainer's Adam."""
        return super().make_optimizer(groups, training)

    def make_optimizer(self, groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
        """Find out when states are collected, and make what moves the chains.

        Raises:
            ConfigError: parameters are to be averaged.
        """
        if options.average_tail is not None:
            raise ConfigError(
                f"generator '{self.name}' keeps states of its chains, and an average of them is none; set "
                "trainer.average_tail=null"
            )
        steps = spaced(self.stages(options), len(self.get_buffer("states")))
        self._slots = {step: slot for slot, step in enumerate(steps)}
        return self.optimizer(groups, options)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the numbers of `count` different chains in training, else of as many states, int64 [count]."""
        held = self.chains if self.training else self.networks
        if count > held:
            raise ConfigError(f"{count} networks were asked for, and generator '{self.name}' holds {held}")
        if count == held:
            return torch.arange(count, device=rng.device)
        return torch.randperm(held, generator=rng, device=rng.device)[:count]

    def forward(self, z: Tensor) -> Weights:
        """Return the weights of the chains, or of the states, with these numbers."""
        current = self.training or not self._collected
        return unflatten(self.spec, self.points[z] if current else self.get_buffer("states").flatten(0, 1)[z])

    def code(self, z: Tensor) -> Tensor:
        """The number of the chain, one-hot, float32 [networks drawn, chains]: its states saw its data."""
        return F.one_hot(z % self.chains, self.chains).float()

    def before_training(self) -> None:
        """Forget the states that an earlier training collected."""
        self.get_buffer("collected").zero_()
        self._collected = 0

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Keep the states of all chains where it is their turn."""
        slot = self._slots.get(step)
        if slot is None:
            return
        # Where a run was begun with other steps, earlier slots may be empty: the next free one is then taken.
        place = min(self._collected, slot)
        self.get_buffer("states")[place] = self.points
        self._collected = place + 1
        self.get_buffer("collected").fill_(self._collected)

    def describe(self) -> dict[str, Any]:
        """Return its parameters, how many chains it has, and how many states of each it has and can keep."""
        states = len(self.get_buffer("states"))
        return {**super().describe(), "chains": self.chains, "states": states, "networks": self.networks}


class BurntInChains(Chains):
    """Chains whose states are collected from all steps behind a burn-in."""

    def __init__(self, name: str, options: BurntInOptions, spec: TargetSpec) -> None:
        super().__init__(name, options, spec)
        self.burn_in = options.burn_in

    def stages(self, training: TrainingOptions) -> list[range]:
        """All steps behind the burn-in."""
        return [range(int(self.burn_in * training.steps), training.steps)]


def _count(module: nn.Module, keys: object) -> None:
    """Say on the host as well how many states were read."""
    module._collected = int(module.get_buffer("collected"))  # type: ignore[assignment]


def spaced(stages: Sequence[range], states: int) -> list[int]:
    """Choose so many steps out of stages, evenly spaced, the last of all among them; all steps where these are fewer.

    Example:
        >>> spaced([range(3, 6), range(13, 16)], 2), spaced([range(4)], 10)
        ([5, 15], [0, 1, 2, 3])
    """
    total = sum(map(len, stages))
    taken = min(states, total)
    chosen = {(number + 1) * total // taken - 1 for number in range(taken)}
    found, before = [], 0
    for stage in stages:
        inside = sorted(number - before for number in chosen if before <= number < before + len(stage))
        found += [stage[number] for number in inside]
        before += len(stage)
    return found


def cycles(name: str, training: TrainingOptions) -> list[range]:
    """The cycles of a training's rate, each as the steps that it has.

    Raises:
        ConfigError: the rate has no cycles, which the generator with this name needs.
    """
    if training.schedule != "cyclic":
        raise ConfigError(
            f"generator '{name}' needs a rate that falls again and again; set trainer.schedule=cyclic and "
            "trainer.cycles to how often"
        )
    found = [training.cycle_at(0)]
    while found[-1].stop < training.steps:
        found.append(training.cycle_at(found[-1].stop))
    return found
