"""The tasks `mnist` and `fashion_mnist`: 70,000 images of 28 × 28 pixels each, read from torchvision's files."""

from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, hookimpl
from hyperframe.runtime.files import is_file
from hyperframe.tasks.augmentation import AffineOptions, random_affine
from hyperframe.tasks.originals import FolderOptions, Originals, PublishedImages


@attrs.frozen(kw_only=True)
class Options(AffineOptions, FolderOptions):
    """Options of the task."""


@attrs.frozen(kw_only=True)
class Source:
    """A data set in MNIST's format.

    Attributes:
        name: the task's name.
        dataset: the name of torchvision's class, and of the folder.
        digests: SHA-256 of each original file, unpacked. Other files are refused.
    """

    name: str
    dataset: str
    digests: dict[str, str]


MNIST = Source(
    name="mnist",
    dataset="MNIST",
    digests={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
FASHION_MNIST = Source(
    name="fashion_mnist",
    dataset="FashionMNIST",
    digests={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)


class Mnist(PublishedImages):
    """Classifies 28 × 28 grey images of ten classes, values in [0, 1].

    The first 5,000 of the 60,000 training images are for validation, the others for training; the 10,000 test images
    are for testing only.

    Raises:
        DataError: the folder does not hold the data, and `download` is false; or a file is not the original.
    """

    input_shape = (1, 28, 28)
    num_outputs = 10
    options: Options

    def __init__(self, source: Source, options: Options) -> None:
        self.name = source.name
        self.source = source
        self.options = options
        self.originals = Originals(
            task=source.name,
            dataset=source.dataset,
            folder=options.path,
            place=options.path / source.dataset / "raw",
            digests=source.digests,
        )

    def read(self, *, test: bool) -> Data:
        """Read all images for testing, or all others: bytes [examples, 1, 28, 28] and int64 labels [examples]."""
        from torchvision.datasets.mnist import read_image_file, read_label_file  # noqa: PLC0415  (slow to import)

        part = "t10k" if test else "train"
        images = read_image_file(str(self.originals.path(f"{part}-images-idx3-ubyte")))
        labels = read_label_file(str(self.originals.path(f"{part}-labels-idx1-ubyte")))
        return Data(images[:, None], labels.long())

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Rotate, shear, scale and shift each training image at random, as far as the options allow."""
        return random_affine(inputs, self.options, rng)

    def download(self) -> None:
        """Download the files that are missing, as torchvision does, which compares each archive's digest."""
        from torchvision import datasets  # noqa: PLC0415  (slow to import)

        dataset: Any = getattr(datasets, self.source.dataset)
        files = self.originals
        for archive, md5 in dataset.resources:
            if not is_file(files.place / archive.removesuffix(".gz")):
                files.fetch([mirror + archive for mirror in dataset.mirrors], md5, files.place)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the tasks."""
    return [
        Component(
            name="mnist",
            factory=partial(Mnist, MNIST),
            options=Options,
            summary="70,000 handwritten digits of 28 × 28 pixels",
            reference="section 4.2",
        ),
        Component(
            name="fashion_mnist",
            factory=partial(Mnist, FASHION_MNIST),
            options=Options,
            summary="70,000 pictures of clothes in ten classes, 28 × 28 pixels, in the format of MNIST",
            reference="H. Xiao, K. Rasul, R. Vollgraf (2017), Fashion-MNIST",
        ),
    ]
