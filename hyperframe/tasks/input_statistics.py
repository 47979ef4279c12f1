"""The inputs of a training in a few numbers, kept with the run, and compared with what its networks are to run on."""

import math
from collections.abc import Sequence
from pathlib import Path

import attrs
import torch
from torch import Tensor

from hyperframe.errors import ConfigError, DataError, RunError, notice
from hyperframe.options import option, plain_options, read_options
from hyperframe.runtime.files import is_file, read_json, write_json
from hyperframe.tasks.own_data.array_files import image_aspects
from hyperframe.tasks.own_data.channels import OF_IMAGES
from hyperframe.types import Data, Task

INPUTS = "inputs.json"
WIDELY = 10.0
"""So many times the width of the training's range beyond it means another scale."""
SLIGHT = 0.02
"""The part of the training's range that all pixels together take up where they are on another scale."""
BYTES = 50.0
"""A range of training inputs as wide as this, of images, is that of bytes which were not divided."""
GREY = 0.1
"""The distance from the middle of the range at which images are dark or bright."""
AT_ONCE = 4096
"""Examples that are looked at together, so that bytes need not all be other numbers at once."""
STRETCH = 1.25
"""So many times wider or higher than any of the training's images may be."""


@attrs.frozen(kw_only=True)
class TrainedInputs:
    """The inputs of a training in a few numbers.

    Attributes:
        pixels: whether they were bytes or image files, divided by 255; None where the task does not say.
        low: the least value.
        high: the greatest.
        mean: of all values.
        aspects: least and greatest width over height of its images; none where they are no images.
    """

    pixels: bool | None = option()
    low: float = option()
    high: float = option()
    mean: float = option()
    aspects: tuple[float, ...] = option(())

    def __attrs_post_init__(self) -> None:
        if len(self.aspects) not in (0, 2):
            raise ValueError(f"aspects: expected two numbers or none, but got {len(self.aspects)}")

    @property
    def _span(self) -> tuple[float, float]:
        """The range that inputs are expected in: that of the training, or all that pixels can be."""
        return (0.0, 1.0) if self.pixels else (self.low, self.high)

    def check_pixels(self, x: Tensor) -> None:
        """Compare bytes or images, divided by 255, with the scale of the training.

        Raises:
            DataError: training inputs were bytes, or numbers like them, that were not divided.
        """
        low, high = _range(x)
        if self.pixels is False and self.high - self.low >= BYTES:
            raise DataError(
                f"bytes and images are divided by 255, but the training's inputs, from {self.low:.4g} to "
                f"{self.high:.4g}, were not: hand over floating-point numbers on that scale"
            )
        if self.pixels is False and (self.low < 0 or self.high > 2):
            notice(
                f"bytes and images are divided by 255 and go from {low:.4g} to {high:.4g} here; the training's inputs "
                f"were other numbers, from {self.low:.4g} to {self.high:.4g}"
            )
        elif 0 < high - low < SLIGHT * (self.high - self.low):
            notice(
                f"bytes are divided by 255: they go from {low:.4g} to {high:.4g} here, the training's inputs from "
                f"{self.low:.4g} to {self.high:.4g}"
            )

    def check_values(self, x: Tensor) -> None:
        """Compare inputs [examples, ...] with the training's; a notice says where they differ.

        Raises:
            DataError: they are on another scale than the pixels that were trained on.
        """
        low, high = _range(x)
        least, greatest = self._span
        beyond = max(least - low, high - greatest) / ((greatest - least) or 1.0)
        images = x.dim() == 4 and x.shape[1] in OF_IMAGES
        ranges = f"inputs go from {low:.4g} to {high:.4g}, those of the training from {self.low:.4g} to {self.high:.4g}"
        divided = " (bytes divided by 255)" if self.pixels else ""
        if beyond > WIDELY and (self.pixels or (images and self.low >= 0 and self.high <= 1)):
            raise DataError(f"{ranges}{divided}: hand over bytes (uint8), or divide by 255")
        if beyond > 1:
            notice(f"{ranges}{divided}: what networks say so far outside means little")
        elif images:
            self._check_brightness(x)

    def _check_brightness(self, x: Tensor) -> None:
        """Say where images are as bright as those of the training are dark, or the other way round."""
        least, greatest = self._span
        width = (greatest - least) or 1.0
        here = float((x.flatten(1).mean(1).median() - least) / width) - 0.5
        trained = (self.mean - least) / width - 0.5
        if here * trained < 0 and abs(trained) > GREY and abs(here) > GREY:
            kinds = ("bright", "dark") if here > 0 else ("dark", "bright")
            notice(
                f"images are {kinds[0]} here (mean {here + 0.5:.2f} of the range), those of the training {kinds[1]} "
                f"({trained + 0.5:.2f}): should black and white be exchanged?"
            )

    def check_aspects(self, paths: Sequence[Path]) -> None:
        """Say which images are wider or higher than any that were trained on, and so are distorted as none was."""
        if not self.aspects:
            return
        least, greatest = self.aspects[0] / STRETCH, self.aspects[1] * STRETCH
        others = [
            (path, aspect)
            for path, aspect in zip(paths, image_aspects(paths), strict=True)
            if not least <= aspect <= greatest
        ]
        if others:
            path, aspect = others[0]
            theirs = " to ".join(f"{value:.3g}" for value in sorted(set(self.aspects)))
            notice(
                f"{len(others)} of {len(paths)} images have other proportions than those of the training, and are "
                f"stretched: width over height is {aspect:.3g} for {path}, {theirs} in training; cut them first"
            )


def trained_inputs(task: Task, train: Data) -> TrainedInputs:
    """Describe the inputs to train on.

    Args:
        task: its attribute `pixels` says whether inputs were bytes, `aspects()` what proportions its images had.
        train: the data to train on.
    """
    low, high, total = math.inf, -math.inf, 0.0
    for first in range(0, len(train), AT_ONCE):
        part = train[first : first + AT_ONCE].x
        least, greatest = _range(part)
        low, high = min(low, least), max(high, greatest)
        total += float(part.sum(dtype=torch.float64))
    shape = tuple(task.input_shape)
    images = len(shape) == 3 and shape[0] in OF_IMAGES
    aspects = task.aspects()
    if aspects is None:
        aspects = (shape[2] / shape[1],) * 2 if images else ()
    return TrainedInputs(
        pixels=True if train.kept.dtype == torch.uint8 else task.pixels,
        low=low,
        high=high,
        mean=total / train.kept.numel(),
        aspects=tuple(aspects),
    )


def _range(x: Tensor) -> tuple[float, float]:
    low, high = x.aminmax()
    return float(low), float(high)


def write_trained_inputs(folder: Path, record: TrainedInputs) -> None:
    """Keep it with a run."""
    write_json(folder / INPUTS, plain_options(record))


def read_trained_inputs(folder: Path) -> TrainedInputs | None:
    """Read what a run keeps of its training inputs; None with a notice where it keeps nothing.

    Raises:
        RunError: it is damaged.
    """
    path = folder / INPUTS
    if not is_file(path):
        notice(f"{folder} has no {INPUTS}; whether inputs are like those that it was trained on is not known")
        return None
    try:
        return read_options(TrainedInputs, read_json(path), "inputs")
    except ConfigError as error:
        raise RunError(f"{path} is damaged: {error}") from error
