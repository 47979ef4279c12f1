"""Gaussians around base points, with the moments of where their training went."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from hyperframe.builtin.generators.modes.options import Options
from hyperframe.builtin.generators.modes.surroundings import Surroundings
from hyperframe.config.schedule import tail_start
from hyperframe.networks import initial_std
from hyperframe.targets import TargetSpec

FIRST_SPREAD = 1e-3
"""Deviation around a base point before anything is collected, as a part of the first weights' own."""
LEAST_STD = 1e-2
"""Taken for these where they all start alike, as scales and shifts do."""


class Moments(Surroundings):
    """θ = μ_k + (σ_k ⊙ ε₁ + D_k ε₂ / √(R − 1)) / √2 in evaluation, and the base point alone in training.

    μ_k and σ_k² are mean and variance of A_k over the last steps of the training, and the R columns of D_k deviations
    from the mean at evenly spaced ones of these. Only where the rate is constant in these steps, as with the schedule
    `one_cycle_tail`, do they say how wide the basin is.

    References: W. Maddox, T. Garipov, P. Izmailov, D. Vetrov, A. Wilson (2019), A Simple Baseline for Bayesian
    Uncertainty in Deep Learning; A. Wilson, P. Izmailov (2020) for several of them (MultiSWAG).
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__(options.modes, dimension=spec.num_weights)
        self.options = options
        self._sizes = [layer.num_weights for layer in spec.layers]
        std = [initial_std(spec, layer).repeat(layer.filters) for layer in spec.layers]
        self.register_buffer("first_std", FIRST_SPREAD * torch.cat(std).clamp(min=LEAST_STD), persistent=False)
        self.register_buffer("mean", torch.zeros(options.modes, spec.num_weights))
        self.register_buffer("variance", torch.zeros(options.modes, spec.num_weights))
        self.register_buffer("snapshots", torch.zeros(options.deviations, options.modes, spec.num_weights))
        self.register_buffer("begun", torch.zeros(()))

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ε₂ and ε₁, [count, R + weights]."""
        entries = self.options.deviations + self.dimension
        return torch.randn(count, entries, generator=rng, device=rng.device, dtype=self.get_buffer("mean").dtype)

    def forward(self, points: Sequence[Tensor], modes: Tensor, noise: Tensor) -> list[Tensor]:
        """The base point in training, else a draw of the Gaussian."""
        if self.training:
            return list(points)
        mean, variance, begun = (self.get_buffer(name) for name in ("mean", "variance", "begun"))
        base, of_snapshots = self._rows(points), noise[:, : self.options.deviations]
        centre = base + begun * (mean[modes] - base)
        std = (variance[modes] + self.get_buffer("first_std") ** 2).sqrt()
        # Each row holds the numbers of its own mode's snapshots and zeros for the others: one product for all.
        own = F.one_hot(modes, self.options.modes).to(noise)
        spread = rearrange(of_snapshots, "batch r -> batch r ()") * rearrange(own, "batch k -> batch () k")
        along = spread.flatten(1) @ self.get_buffer("snapshots").flatten(0, 1)
        along = (along - of_snapshots.sum(1, keepdim=True) * mean[modes]) / math.sqrt(self.options.deviations - 1)
        rows = centre + (std * noise[:, self.options.deviations :] + begun * along) / math.sqrt(2)
        parts = rows.split(self._sizes, 1)
        return [part.view_as(point) for part, point in zip(parts, points, strict=True)]

    def before_training(self) -> None:
        """Forget the moments that an earlier training collected."""
        self.get_buffer("begun").zero_()
        self.get_buffer("variance").zero_()

    @torch.no_grad()
    def after_step(self, points: Sequence[Tensor], step: int, steps: int) -> None:
        """Take the base points in, in the tail of the training: running moments, and snapshots evenly spaced."""
        first = tail_start(self.options.tail, steps)
        if step < first:
            return
        count, kept = step - first + 1, self.options.deviations
        mean, variance, snapshots = (self.get_buffer(name) for name in ("mean", "variance", "snapshots"))
        here = self._rows(points)
        if count == 1:
            mean.copy_(here)
            variance.zero_()
            snapshots.copy_(here.expand_as(snapshots))
            self.get_buffer("begun").fill_(1)
        before = here - mean
        mean += before / count
        variance += (before * (here - mean) - variance) / count
        for number in range(kept):
            if count == max(1, (number + 1) * (steps - first) // kept):
                snapshots[number].copy_(here)

    @staticmethod
    def _rows(points: Sequence[Tensor]) -> Tensor:
        return torch.cat([point.flatten(1) for point in points], 1)
