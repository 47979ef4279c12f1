"""The generator `direct`: the weights of N networks are the parameters, all trained in one batched forward pass."""

from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.errors import ConfigError
from hyperframe.networks import initial_weights
from hyperframe.runtime.progress import quantity
from hyperframe.targets import TargetSpec


@attrs.frozen(kw_only=True)
class Options:
    """Options of the direct generator."""

    networks: int = option(8, "how many networks it holds; trainer.networks must be the same", minimum=1)


class Direct(Generator):
    """Holds the weights of N networks as parameters: ordinary training, of a whole deep ensemble at once.

    z is the number of a network. Fewer than N are drawn without replacement; N gives each once, in order.

    Raises:
        ConfigError: more networks are drawn than it holds.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__(spec, dimension=spec.num_weights, networks=options.networks)
        weights = initial_weights(spec, options.networks)
        self.layers = nn.ParameterList(nn.Parameter(weights[layer.name]) for layer in spec.layers)

    def base_points(self) -> Weights:
        """The networks themselves."""
        return dict(zip(self.spec.layer_names, self.layers, strict=True))

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the numbers of `count` different networks, int64 [count]."""
        assert self.networks is not None
        if count > self.networks:
            raise ConfigError(f"generator 'direct' holds {quantity(self.networks, 'network')}, {count} were asked for")
        if count == self.networks:
            return torch.arange(count, device=rng.device)
        return torch.randperm(self.networks, generator=rng, device=rng.device)[:count]

    def forward(self, z: Tensor) -> Weights:
        """Return the weights of the networks with these numbers."""
        return {layer.name: values[z] for layer, values in zip(self.spec.layers, self.layers, strict=True)}

    def code(self, z: Tensor) -> Tensor:
        """The networks' numbers, one-hot: float32 [networks drawn, networks]."""
        assert self.networks is not None
        return F.one_hot(z, self.networks).float()

    def describe(self) -> dict[str, Any]:
        """Return how many networks and parameters it has."""
        return {**super().describe(), "networks": self.networks}


def _build(options: Options, spec: TargetSpec, task: Task) -> Direct:
    return Direct(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="direct",
            factory=_build,
            options=Options,
            summary="the weights of N networks are the parameters: N networks trained at once",
        )
    ]
