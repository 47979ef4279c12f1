"""The task `signals`: short noisy waves, to be told apart by their form; made from a seed, no download."""

import attrs
import torch
from torch import Tensor

from hyperframe import ClassificationTask, Component, Data, hookimpl, option
from hyperframe.errors import unknown_name

SIZES = {"train": 2000, "validation": 400, "test": 1000}
STEPS = 32
CYCLES = 2.0, 4.0
AMPLITUDE = 0.5, 1.5


@attrs.frozen(kw_only=True)
class Options:
    """Options of the task."""

    noise: float = option(0.1, "standard deviation of what is added to each step", minimum=0)
    seed: int = option(0, "seed of all waves", minimum=0)


class Signals(ClassificationTask):
    """Classifies sequences of 32 numbers: sines, squares, triangles and saw teeth.

    Each has an amplitude uniform in [0.5, 1.5], 2 to 4 cycles, a phase of its own, and noise on every step.

    Example:
        >>> task = Signals(Options())
        >>> data = task.data("test")
        >>> data.x.shape, data.y.bincount().tolist()
        (torch.Size([1000, 32, 1]), [250, 250, 250, 250])
    """

    name = "signals"
    input_shape = (STEPS, 1)
    num_outputs = 4
    classes = ("sine", "square", "triangle", "saw tooth")

    def __init__(self, options: Options) -> None:
        self.options = options

    def data(self, split: str) -> Data:
        """Return a split; each has as many waves of every form."""
        if split not in SIZES:
            raise ValueError(unknown_name("split", split, SIZES))
        count = SIZES[split]
        rng = torch.Generator().manual_seed(len(SIZES) * self.options.seed + list(SIZES).index(split))
        cycles, amplitude, phase = (
            torch.empty(count, 1).uniform_(*limits, generator=rng) for limits in (CYCLES, AMPLITUDE, (0.0, 1.0))
        )
        turn = (phase + cycles * torch.arange(STEPS) / STEPS).remainder(1)
        labels = torch.arange(count) % self.num_outputs
        waves = amplitude * forms(turn)[labels, torch.arange(count)]
        noise = self.options.noise * torch.randn(count, STEPS, generator=rng)
        return Data((waves + noise)[..., None], labels)


def forms(turn: Tensor) -> Tensor:
    """Return the waves between −1 and 1 at these parts of a turn, [...] give [forms, ...].

    Example:
        >>> forms(torch.tensor([0.25, 0.75])).tolist()
        [[1.0, -1.0], [1.0, -1.0], [1.0, -1.0], [0.5, -0.5]]
    """
    triangle = 1 - 4 * ((turn + 0.25).remainder(1) - 0.5).abs()
    saw = 2 * (turn + 0.5).remainder(1) - 1
    return torch.stack([(2 * torch.pi * turn).sin(), torch.where(turn < 0.5, 1.0, -1.0), triangle, saw])


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="signals",
            factory=Signals,
            options=Options,
            summary="sines, squares, triangles and saw teeth of 32 steps, with noise; made from a seed, no download",
        )
    ]
