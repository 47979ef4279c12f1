"""The task `image_folder`: a user's own images, in a folder for each class."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import ClassificationTask, Component, Data, hookimpl, option
from hyperframe.errors import DataError
from hyperframe.options import read_options
from hyperframe.runtime.files import exists, user_path
from hyperframe.runtime.progress import quantity
from hyperframe.tasks.augmentation import AffineOptions, random_affine
from hyperframe.tasks.own_data.array_files import entries, image_aspects, image_paths, read_images
from hyperframe.tasks.own_data.arrays import SplitOptions, divide
from hyperframe.tasks.own_data.facts import check_facts, chosen_split

LOOKED_AT = 1000
"""The most images whose aspect ratios are measured."""


@attrs.frozen(kw_only=True)
class Options(AffineOptions, SplitOptions):
    """Options of the task."""

    folder: str | None = option(None, "a folder that holds a folder of images for each class", location=True)
    size: tuple[int, ...] = option((32, 32), "height and width that all images are scaled to", minimum=1)
    colours: bool = option(True, "true: three channels; false: one, grey")

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if len(self.size) != 2:
            raise ValueError(f"size: expected a height and a width, but got {quantity(len(self.size), 'number')}")


@attrs.frozen(kw_only=True)
class Facts:
    """Facts that the task reads from the folder, and that a run keeps."""

    classes: tuple[str, ...] = option()


class ImageFolder(ClassificationTask):
    """Classifies images of any size, which are scaled to one size, with values in [0, 1].

    The folders' names, in order, are the classes.

    Args:
        options: of the task.
        facts: the facts that a run kept when it was trained; by default the folder is read now.

    Attributes:
        classes: their names.

    Raises:
        DataError: the folder is not there, has fewer than two classes, or a class has no images.
    """

    name = "image_folder"
    pixels = True

    def __init__(self, options: Options, facts: Mapping[str, Any] | None = None) -> None:
        self.options = options
        self.classes: list[str] = (
            self._listing[0] if facts is None else list(read_options(Facts, facts, "task").classes)
        )
        self.facts: Mapping[str, Any] = {"classes": self.classes}
        self.input_shape = (3 if options.colours else 1, *options.size)
        self.num_outputs = len(self.classes)

    @cached_property
    def _listing(self) -> tuple[list[str], list[Path], dict[str, Data]]:
        """The classes, all files, and for each split the numbers of its files with their labels."""
        options = self.options
        if options.folder is None:
            raise DataError("task 'image_folder' needs a folder: set task.folder to one with a folder for each class")
        folder = user_path(options.folder)
        if not exists(folder) or not folder.is_dir():
            raise DataError(f"task 'image_folder': there is no folder {folder}")
        found = [path for path in entries(folder) if path.is_dir() and not path.name.startswith(".")]
        if len(found) < 2:
            raise DataError(
                f"task 'image_folder': {folder} holds {quantity(len(found), 'folder')}, one for each class; two "
                "classes are needed"
            )
        files = [(image, label) for label, path in enumerate(found) for image in image_paths(path)]
        labels = torch.tensor([label for _, label in files])
        numbers = Data(torch.arange(len(files)), labels)
        splits = divide({"train": numbers}, options, "task 'image_folder'")
        return [path.name for path in found], [image for image, _ in files], splits

    def data(self, split: str) -> Data:
        """Read the images of a split."""
        classes, files, splits = self._listing
        check_facts(self.name, {"classes": classes}, self.facts)
        chosen = chosen_split(splits, split)
        return Data(read_images([files[number] for number in chosen.x.tolist()], self.input_shape), chosen.y)

    def aspects(self) -> tuple[float, float]:
        """Return the least and the greatest width / height among the training images, or among 1,000 of them."""
        _, files, splits = self._listing
        numbers = splits["train"].x.tolist()
        found = image_aspects([files[number] for number in numbers[:: -(-len(numbers) // LOOKED_AT)]])
        return min(found), max(found)

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Rotate, shear, scale and shift each training image at random, as far as the options allow."""
        return random_affine(inputs, self.options, rng)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="image_folder",
            factory=ImageFolder,
            options=Options,
            restore=ImageFolder,
            summary="own images, a folder for each class, scaled to one size",
        )
    ]
