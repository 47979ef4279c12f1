"""The generator `modes`: several base points in weight space, and what is generated around each of them."""

from typing import Any

import torch
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl
from hyperframe.builtin.generators.modes.given import read_points
from hyperframe.builtin.generators.modes.moments import Moments
from hyperframe.builtin.generators.modes.offsets import Offsets
from hyperframe.builtin.generators.modes.options import Options
from hyperframe.builtin.generators.modes.surroundings import Surroundings
from hyperframe.errors import ConfigError
from hyperframe.networks import initial_weights
from hyperframe.runtime.progress import quantity
from hyperframe.targets import TargetSpec


class Modes(Generator):
    """θ = A_k + what is generated around it; z = (k, ε), with k drawn evenly.

    The base points A_k start as independent networks do (He et al. 2015), and stay in basins of their own, so that
    draws of different modes differ in what they answer as independently trained networks do. What lies around them
    makes the number of different networks unlimited, at no more cost a step.

    Raises:
        ConfigError: more files than base points; or see `Hypernetwork`.

    References: A. Wilson, P. Izmailov (2020), Bayesian Deep Learning and a Probabilistic Perspective of Generalization;
    S. Fort, H. Hu, B. Lakshminarayanan (2019), Deep Ensembles: A Loss Landscape Perspective.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        if len(options.from_) > options.modes:
            raise ConfigError(
                f"generator.from: {len(options.from_)} files are more than the {quantity(options.modes, 'base point')} "
                f"of generator.modes; set generator.modes={len(options.from_)}, or name fewer"
            )
        points = initial_weights(spec, options.modes)
        kind = {"hypernetwork": Offsets, "moments": Moments}[options.around]
        around: Surroundings = kind(options, spec)
        super().__init__(spec, dimension=around.dimension)
        self.options = options
        self.points = nn.ParameterList(nn.Parameter(points[layer.name]) for layer in spec.layers)
        self.around = around
        self.minimum_batch = max(options.modes, around.minimum_batch)

    def base_points(self) -> Weights:
        """All A_k; those of `generator.from` go to theirs afterwards."""
        return dict(zip(self.spec.layer_names, self.points, strict=True))

    @torch.no_grad()
    def before_training(self) -> None:
        """Let base points begin at the networks that are given, and their surroundings without any memory."""
        self.around.before_training()
        if not self.options.from_:
            return
        given = read_points(self.options.from_, self.spec)
        for point, layer in zip(self.points, self.spec.layer_names, strict=True):
            point[: len(self.options.from_)] = given[layer].to(point)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the mode's number and what lies around it, [count, 1 + entries].

        Modes take turns in order; the last networks, too few for all modes, are of different ones at random. So any
        multiple of `modes` networks has as many of each.
        """
        modes, rest = torch.arange(count, device=rng.device), count % self.options.modes
        modes %= self.options.modes
        if rest:
            modes[count - rest :] = torch.randperm(self.options.modes, generator=rng, device=rng.device)[:rest]
        noise = self.around.draw(count, rng)
        return torch.cat([modes[:, None].to(noise.dtype), noise], 1)

    def forward(self, z: Tensor) -> Weights:
        """Turn z [batch, 1 + entries] into weights."""
        modes = z[:, 0].round().long()
        made = self.around([values[modes] for values in self.points], modes, z[:, 1:])
        return dict(zip(self.spec.layer_names, made, strict=True))

    def code(self, z: Tensor) -> Tensor:
        """The base point's number k, one-hot; beside it ε, where the training draws it (`around: hypernetwork`)."""
        return self.around.code(z[:, 0].round().long(), z[:, 1:])

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """The base points with the trainer's rate, what lies around them with its own."""
        groups = [(1.0, list(self.points)), (self.options.around_rate, list(self.around.parameters()))]
        return [(rate, parameters) for rate, parameters in groups if parameters]

    def after_step(self, step: int, steps: int) -> None:
        """Let the surroundings see where the base points are."""
        self.around.after_step(list(self.points), step, steps)

    def describe(self) -> dict[str, Any]:
        """Return how many modes and parameters it has."""
        return {**super().describe(), "modes": self.options.modes, "around": self.around.describe()}


def _build(options: Options, spec: TargetSpec, task: Task) -> Modes:
    return Modes(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="modes",
            factory=_build,
            options=Options,
            summary="independent base points, and what is generated around each: a deep ensemble with endless draws",
            reference="A. Wilson, P. Izmailov (2020), Bayesian Deep Learning and a Probabilistic Perspective",
        )
    ]
