"""The task `shapes`: circles, squares and triangles on noisy backgrounds, with a class for each pixel."""

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, hookimpl, option
from hyperframe.errors import unknown_name
from hyperframe.tasks.structured import DenseClassificationTask

SPLITS = ("train", "validation", "test")
SIDE = 32
MOST = 3
"""Shapes in one image at most."""
TURN = 0.3
"""The largest turn of a shape, in radians."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the task."""

    train: int = option(1000, "images to train on", minimum=1)
    validation: int = option(200, "images to validate on", minimum=1)
    test: int = option(200, "images to test on", minimum=1)
    noise: float = option(0.15, "standard deviation of the noise of each pixel", minimum=0)
    seed: int = option(0, "seed of the images", minimum=0)


class Shapes(DenseClassificationTask):
    """Segments grey images [1, 32, 32] with one to three shapes, each of a random brightness, size, place and turn.

    Labels are 0 for the background, 1 for circles, 2 for squares, 3 for triangles; later shapes hide earlier ones.
    Shapes are brighter than the background, and their brightness says nothing of the class.
    """

    name = "shapes"
    input_shape = (1, SIDE, SIDE)
    num_outputs = 4
    output_places = (SIDE, SIDE)
    classes = ("background", "circle", "square", "triangle")
    pixels = False

    def __init__(self, options: Options) -> None:
        self.options = options

    def data(self, split: str) -> Data:
        """Return a split: images [examples, 1, 32, 32] and labels [examples, 32, 32], the same ones every time."""
        if split not in SPLITS:
            raise ValueError(unknown_name("split", split, SPLITS))
        rng = torch.Generator().manual_seed(len(SPLITS) * self.options.seed + SPLITS.index(split))
        return draw_shapes(getattr(self.options, split), self.options.noise, rng)


def draw_shapes(count: int, noise: float, rng: torch.Generator) -> Data:
    """Draw images with shapes: float32 [count, 1, 32, 32] and labels int64 [count, 32, 32]."""
    images = 0.4 * torch.rand(count, 1, 1, 1, generator=rng).expand(-1, -1, SIDE, SIDE)
    labels = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    shown = torch.randint(1, MOST + 1, (count,), generator=rng)
    for number in range(MOST):
        kinds = torch.randint(1, len(Shapes.classes), (count,), generator=rng)
        masks = draw_masks(kinds, rng) & (number < shown)[:, None, None]
        brightness = 0.6 + 0.4 * torch.rand(count, 1, 1, 1, generator=rng)
        images = torch.where(masks[:, None], brightness, images)
        labels = torch.where(masks, kinds[:, None, None], labels)
    return Data(images + noise * torch.randn(images.shape, generator=rng), labels)


def draw_masks(kinds: Tensor, rng: torch.Generator) -> Tensor:
    """Draw one shape of each kind [count], 1 to 3, at random places: bool [count, 32, 32].

    A point belongs to a shape where its distance from the centre is less than the radius: the Euclidean distance for a
    circle, the largest distance along the turned axes for a square, along three directions for a triangle.
    """
    count = len(kinds)
    radius = 5 + 4 * torch.rand(count, 1, 1, generator=rng)
    centre = 6 + (SIDE - 12) * torch.rand(2, count, 1, 1, generator=rng)
    turn = TURN * (2 * torch.rand(count, 1, 1, generator=rng) - 1)
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    x, y = columns - centre[0], rows - centre[1]

    def along(angle: float) -> Tensor:
        return (turn + angle).cos() * x + (turn + angle).sin() * y

    right, third = torch.pi / 2, 2 * torch.pi / 3
    circle = (x.square() + y.square()).sqrt()
    square = torch.maximum(along(0).abs(), along(right).abs()) * 1.1
    triangle = torch.stack([along(0), along(third), along(2 * third)]).amax(0) * 1.6
    distances = torch.stack([circle, square, triangle])
    return distances[kinds - 1, torch.arange(count)] < radius


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="shapes",
            factory=Shapes,
            options=Options,
            summary="circles, squares and triangles on noisy backgrounds, a class for each pixel; made from a seed",
        )
    ]
