"""Inputs on which diversity terms compare networks, made of training examples: shuffled, mixed, moved far, or noise.

On training examples, whose labels are known, networks should agree; elsewhere they may differ at no cost in accuracy.
All is drawn by numbers of a generator on the examples' device, and nothing waits for it.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from hyperframe.errors import ConfigError, DataError
from hyperframe.options import option
from hyperframe.tasks.augmentation import AffineOptions, random_affine
from hyperframe.types import Data, DiversityTerm

MadeKind = Literal["examples", "shuffled", "mixtures", "noise", "augmented"]
"""The kinds of inputs that `make_inputs` makes of training examples."""

InputKind = Literal[MadeKind, "task"]
"""These, and the training inputs of another task."""

ROTATION, SHEAR, ZOOM, TRANSLATION = 180.0, 30.0, 0.3, 0.25
"""How far `move` moves images at most: in degrees, degrees, a part of the size, and a part of the shorter side."""


def inputs_option(default: InputKind) -> Any:
    """Declare a term's option `inputs`, of the type `InputKind`."""
    return option(
        default,
        "inputs on which networks are compared; examples: shared training examples as they are; shuffled: their pixels "
        "in random order, or features exchanged among them; mixtures: of two examples each; noise: with their mean and "
        "deviation; augmented: images moved far; task: training inputs of another task",
    )


def task_option() -> Any:
    """Declare a term's option `task`, of the type `str | None`."""
    return option(None, "with inputs=task: the name of the other task, which has its default options", names_task=True)


class OutputTerm(DiversityTerm):
    """A diversity term that compares the networks' outputs on inputs of a kind; a base class of such terms.

    Args:
        kind: of the inputs.
    """

    needs = frozenset({"outputs", "task"})
    minimum_networks = 2

    def __init__(self, kind: InputKind) -> None:
        self.kind = kind
        self._of_other: Data | None = None

    def inputs(self, shared: Data, rng: torch.Generator) -> Tensor:
        """Make inputs of the kind, as many as there are shared examples.

        Raises:
            ConfigError: they cannot be made of the task's inputs, or the other task is not named or has others.
            DataError: the other task's data cannot be had.
        """
        if self.kind != "task":
            if self.other_task is not None:
                raise ConfigError(
                    f"task '{self.other_task.name}' is named, but inputs are '{self.kind}'; take inputs: task"
                )
            return make_inputs(self.kind, shared.x, rng)
        if self._of_other is None:  # before the first step, when terms are tried
            self._of_other = self._load(shared.x)
        chosen = torch.randint(len(self._of_other), (len(shared),), generator=rng, device=shared.device)
        return self._of_other[chosen].x.to(shared.x)

    def _load(self, x: Tensor) -> Data:
        """Load the training data of the other task onto the device of examples."""
        other = self.other_task
        if other is None:
            raise ConfigError("inputs 'task' are those of another task; name it with the option task")
        shapes = list(other.input_shape), list(x.shape[1:])
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"inputs of task '{other.name}' have the shape {shapes[0]}, those of the task that is trained on "
                f"{shapes[1]}; name one with such inputs"
            )
        try:
            return other.data("train").to(x.device)
        except DataError as error:
            raise DataError(f"inputs of another task, with its default options: {error}") from error


def make_inputs(kind: MadeKind, x: Tensor, rng: torch.Generator) -> Tensor:
    """Make inputs of a kind out of training examples [examples, *input_shape], which "examples" leaves as they are.

    Raises:
        ConfigError: the kind is for images, and the examples are none.

    Example:
        >>> x = torch.eye(3)
        >>> make_inputs("examples", x, torch.Generator()) is x
        True
    """
    if kind == "shuffled":
        return shuffle(x, rng)
    if kind == "mixtures":
        return mix(x, rng)
    if kind == "noise":
        return draw_noise(x, rng)
    return move(x, rng) if kind == "augmented" else x


def shuffle(x: Tensor, rng: torch.Generator) -> Tensor:
    """Put each image's pixels into a random order of its own, the same for all channels.

    The first axis of an input counts as that of channels, so that series are shuffled in time. Inputs with that axis
    alone are features with units of their own: each feature's values are exchanged among the examples.

    Args:
        x: examples [examples, channels, ...] or [examples, features].
        rng: on their device.

    Example:
        >>> image = torch.arange(6.0).view(1, 1, 2, 3)
        >>> shuffle(image, torch.Generator().manual_seed(0)).flatten().sort().values.tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    if x.dim() <= 2:
        return x.gather(0, torch.rand(x.shape, generator=rng, device=x.device).argsort(0))
    pixels = x.flatten(2)
    order = torch.rand(len(x), 1, pixels.shape[2], generator=rng, device=x.device).argsort(-1)
    return pixels.gather(2, order.expand_as(pixels)).view_as(x)


def mix(x: Tensor, rng: torch.Generator) -> Tensor:
    """Mix each example a with another one b: a + w (b − a), w uniform in [0, 1), which is mixup with α = 1.

    References: H. Zhang, M. Cisse, Y. N. Dauphin, D. Lopez-Paz (2018), mixup: Beyond Empirical Risk Minimization.

    Args:
        x: examples [examples, *input_shape]; a single one stays as it is.
        rng: on their device.
    """
    count = len(x)
    steps = torch.randint(1, max(count, 2), (count,), generator=rng, device=x.device)
    others = x[(torch.arange(count, device=x.device) + steps) % count]
    shape = (count, *[1] * (x.dim() - 1))
    return torch.lerp(x, others, torch.rand(shape, generator=rng, device=x.device, dtype=x.dtype))


def draw_noise(x: Tensor, rng: torch.Generator) -> Tensor:
    """Draw normal numbers with the mean and standard deviation that each channel or feature of the examples has.

    Args:
        x: examples [examples, channels, ...] or [examples, features].
        rng: on their device.
    """
    axes = (0, *range(2, x.dim()))
    mean, std = x.mean(axes, keepdim=True), x.std(axes, correction=0, keepdim=True)
    return mean + std * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)


def move(x: Tensor, rng: torch.Generator) -> Tensor:
    """Move each image by a random affine map: rotation by any angle, shear, zoom, and translation by up to a quarter.

    Args:
        x: images [examples, channels, height, width].
        rng: on their device.

    Raises:
        ConfigError: they are no images.
    """
    if x.dim() != 4:
        raise ConfigError(
            f"inputs 'augmented' are made of images [channels, height, width], but the task's inputs have the shape "
            f"{list(x.shape[1:])}; take examples, shuffled, mixtures or noise"
        )
    limits = AffineOptions(rotation=ROTATION, shear=SHEAR, zoom=ZOOM, translation=TRANSLATION * min(x.shape[2:]))
    return random_affine(x, limits, rng)
