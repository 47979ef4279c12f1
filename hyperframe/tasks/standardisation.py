"""Values shifted and scaled to mean 0 and standard deviation 1, by the moments of the data that are trained on."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor, nn

SMALLEST = float(torch.finfo(torch.float32).tiny)
"""A smaller deviation cannot be divided by in float32."""


@attrs.frozen(eq=False, slots=False)  # without a dictionary nothing can be cached
class Standardisation:
    """The map v ↦ (v − mean) / std of each value by itself, and its way back.

    Attributes:
        mean: [*shape].
        std: positive, [*shape].

    Example:
        >>> ages = Standardisation.of(torch.tensor([[30.0, 1.0], [50.0, 1.0]]))
        >>> ages.apply(torch.tensor([[60.0, 3.0]]))     # the second never varied: it is shifted, and not scaled
        tensor([[2., 2.]])
        >>> ages.undo(torch.tensor([[2.0, 2.0]]))
        tensor([[60.,  3.]])
    """

    mean: Tensor
    std: Tensor
    _placed: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = attrs.field(factory=dict, init=False)

    @classmethod
    def of(cls, values: Tensor) -> "Standardisation":
        """That of values [examples, *shape], float64; what does not vary over the examples is shifted only."""
        values = values.double()
        std = values.std(0, correction=0)
        # The deviation of equal values can be one of rounding, and not zero.
        varies = (values.amax(0) > values.amin(0)) & (std >= SMALLEST)
        return cls(values.mean(0), torch.where(varies, std, 1.0))

    @classmethod
    def read(cls, mean: Sequence[float], std: Sequence[float], shape: Sequence[int]) -> "Standardisation | None":
        """That of numbers which a file holds, for values of a shape; None of none."""
        if not mean:
            return None
        of_mean, of_std = (torch.tensor(numbers, dtype=torch.float64).reshape(tuple(shape)) for numbers in (mean, std))
        return cls(of_mean, of_std)

    def plain(self) -> dict[str, list[float]]:
        """Means and deviations as flat lists, which `read` reads."""
        return {name: value.double().flatten().tolist() for name, value in (("mean", self.mean), ("std", self.std))}

    @cached_property
    def log_scale(self) -> float:
        """The sum of log std: what the logarithm of a density gets less when values get their own units back."""
        return float(self.std.double().log().sum())

    def apply(self, values: Tensor) -> Tensor:
        """Standardise values [..., *shape]."""
        mean, std = self._beside(values)
        return (values - mean) / std

    def undo(self, values: Tensor) -> Tensor:
        """Give standardised values [..., *shape] their own units back."""
        mean, std = self._beside(values)
        return values * std + mean

    def _beside(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation where values are; moved there once, since a CUDA device waits for that."""
        place = values.device, values.dtype
        if place not in self._placed:
            self._placed[place] = self.mean.to(values), self.std.to(values)
        return self._placed[place]

    def before(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Standardise what a module is called with, as a hook before its forward."""
        return (self.apply(arguments[0]), *arguments[1:])

    def coarse(self) -> list[int]:
        """Numbers of the values, of all in a row, whose deviation is not far above what float32 tells apart there."""
        steps = self.mean.abs() * torch.finfo(torch.float32).eps
        found: list[int] = (steps > self.std / 50).flatten().nonzero().flatten().tolist()
        return found
