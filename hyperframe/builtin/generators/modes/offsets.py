"""Offsets that a hypernetwork generates around base points."""

import math
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.builtin.generators.modes.options import Options
from hyperframe.builtin.generators.modes.surroundings import Surroundings
from hyperframe.networks import LatentOptions
from hyperframe.networks.hypernetwork import Hypernetwork, HypernetworkOptions, StackOptions
from hyperframe.targets import TargetSpec


class Offsets(Surroundings):
    """The paper's extractor and weight generators, which see the mode's number, one-hot, beside ε.

    The one-hot entries have the second moment of those of ε, so that the first layer takes both alike.

    References: section 3.3.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        stacks = {field.name: getattr(options, field.name) for field in attrs.fields(StackOptions)}
        network = Hypernetwork(
            HypernetworkOptions(**stacks, latent=options.latent + options.modes), spec, scale=options.spread
        )
        super().__init__(options.modes, dimension=min(options.latent, network.dimension))
        self.noise = LatentOptions(latent=options.latent)
        self.network = network
        self.minimum_batch = network.minimum_batch
        self._height = math.sqrt(options.modes * self.noise.latent_variance)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ε, [count, latent]."""
        return self.noise.draw_latent(count, rng, self.network.dtype)

    def forward(self, points: Sequence[Tensor], modes: Tensor, noise: Tensor) -> list[Tensor]:
        """A_k and the offset that is generated for k and ε."""
        offsets = self.network.generate(self.code(modes, noise))
        return [point + offset for point, offset in zip(points, offsets.values(), strict=True)]

    def code(self, modes: Tensor, noise: Tensor) -> Tensor:
        """The mode's number, one-hot and scaled to the second moment of ε, and ε: [batch, modes + latent]."""
        return torch.cat([self._height * super().code(modes, noise), noise], 1)

    def describe(self) -> dict[str, Any]:
        """The hypernetwork's rows."""
        return self.network.describe()
