"""The task `digits`: scikit-learn's 1,797 handwritten digits, real data that needs no download."""

from functools import cache

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe import ClassificationTask, Component, Data, hookimpl, option
from hyperframe.errors import unknown_name
from hyperframe.tasks.augmentation import AffineOptions, random_affine

SIZES = {"train": 1197, "validation": 240, "test": 360}


@attrs.frozen(kw_only=True)
class Options(AffineOptions):
    """Options of the task."""

    split_seed: int = option(0, "seed of the random split into training, validation and test images", minimum=0)


class Digits(ClassificationTask):
    """Classifies 8 × 8 grey images of ten digits, values in [0, 1]: 1,197 to train on, 240 to validate, 360 to test."""

    name = "digits"
    input_shape = (1, 8, 8)
    num_outputs = 10

    def __init__(self, options: Options) -> None:
        self.options = options

    def data(self, split: str) -> Data:
        """Return a split; the three never share an image."""
        if split not in SIZES:
            raise ValueError(unknown_name("split", split, SIZES))
        images, labels = _read()
        order = np.random.default_rng(self.options.split_seed).permutation(len(labels))
        first = sum(SIZES[name] for name in list(SIZES)[: list(SIZES).index(split)])
        chosen = order[first : first + SIZES[split]]
        x = torch.from_numpy(images[chosen]).float()[:, None] / 16
        return Data(x, torch.from_numpy(labels[chosen]).long())

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Rotate, shear, scale and shift each training image at random, as far as the options allow."""
        return random_affine(inputs, self.options, rng)


@cache
def _read() -> tuple[np.ndarray, np.ndarray]:
    """All images [examples, 8, 8] and their labels, from a text file that takes longer to read than a step takes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (takes a second, and only this task needs it)

    bunch = load_digits()
    return bunch.images, bunch.target


def _build(options: Options) -> Digits:
    return Digits(options)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="digits",
            factory=_build,
            options=Options,
            summary="1,797 handwritten digits of 8 × 8 pixels; part of scikit-learn, no download",
        )
    ]
