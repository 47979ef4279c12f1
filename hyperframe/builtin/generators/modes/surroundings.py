"""The base class of what is drawn around base points."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Surroundings(nn.Module):
    """Makes weights of base points and noise.

    Attributes:
        modes: how many base points there are.
        dimension: of what it draws around one base point.
        minimum_batch: the fewest networks it can make at a time in training.
    """

    minimum_batch: int = 1

    def __init__(self, modes: int, dimension: int) -> None:
        super().__init__()
        self.modes = modes
        self.dimension = dimension

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw noise [count, entries] on the device of `rng`."""
        raise NotImplementedError

    def forward(self, points: Sequence[Tensor], modes: Tensor, noise: Tensor) -> list[Tensor]:
        """Make weights.

        Args:
            points: for each layer each network's base point, [batch, filters, filter_size].
            modes: the numbers of these, int64 [batch].
            noise: [batch, entries].

        Returns:
            For each layer [batch, filters, filter_size].
        """
        raise NotImplementedError

    def code(self, modes: Tensor, noise: Tensor) -> Tensor:
        """See `Generator.code`: the mode, one-hot, [batch, modes]; noise counts where training draws it too."""
        return F.one_hot(modes, self.modes).to(noise)

    def before_training(self) -> None:
        """Called before the first step of a new training, see `Generator.before_training`."""

    def after_step(self, points: Sequence[Tensor], step: int, steps: int) -> None:
        """Called after a step of the optimiser with all base points, for each layer [modes, filters, filter_size]."""

    def describe(self) -> dict[str, Any]:
        """Its size, as plain data."""
        return {"parameters": sum(parameter.numel() for parameter in self.parameters())}
