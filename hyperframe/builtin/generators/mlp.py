"""The generator `mlp`: one fully connected network from z to all weights, the comparison of section 3.3."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.networks import LatentOptions, initial_mean, initial_std
from hyperframe.networks.dense import Dense, DenseOptions, InitialisationName
from hyperframe.targets import TargetSpec, unflatten


@attrs.frozen(kw_only=True)
class Options(LatentOptions, DenseOptions):
    """Options of the fully connected generator."""

    hidden: tuple[int, ...] = option((128, 128), "sizes of the hidden layers", minimum=1)
    batch_norm: bool = option(False, "batch normalisation behind the activation of every hidden layer")
    initialisation: InitialisationName = option("hyperfan", "authors: small; hyperfan: the target's own variance")


class FullyConnected(Generator):
    """Generates all weights of the target from z by dense layers, without sharing: its size grows with the target's."""

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        dense = Dense([options.latent, *options.hidden, spec.num_weights], options)
        super().__init__(spec, dimension=min(dense.widths))
        self.latent_distribution = options.latent_distribution
        self.options = options
        self.minimum_batch = 2 if options.batch_norm else 1
        self.dense = dense
        mean = torch.cat([initial_mean(layer).repeat(layer.filters) for layer in spec.layers])
        self.register_buffer("mean", mean, persistent=False)
        if options.initialisation == "authors":
            self.dense.initialise_authors()
        else:
            std = torch.cat([initial_std(spec, layer).repeat(layer.filters) for layer in spec.layers])
            self.dense.initialise_hyperfan(self.options.latent_variance, std)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw z, [count, latent]."""
        return self.options.draw_latent(count, rng, self.dense.linears[0].weight.dtype)

    def latent_entropy(self) -> float:
        """Return the entropy of z in nats."""
        return self.options.entropy

    def is_injective(self) -> bool:
        """Whether different z give different weights."""
        return self.dense.is_injective

    def forward(self, z: Tensor) -> Weights:
        """Turn z [batch, latent] into weights."""
        return unflatten(self.spec, self.dense(z) + self.get_buffer("mean"))

    def describe(self) -> dict[str, Any]:
        """Return its sizes and how many parameters it has."""
        return {**super().describe(), "dense": self.dense.describe()}


def _build(options: Options, spec: TargetSpec, task: Task) -> FullyConnected:
    return FullyConnected(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="mlp",
            factory=_build,
            options=Options,
            summary="one fully connected network from z to all weights",
            reference="section 3.3",
        )
    ]
