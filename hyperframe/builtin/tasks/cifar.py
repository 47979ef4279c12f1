"""The tasks `cifar10` and `cifar100`: 60,000 colour images of 32 × 32 pixels each, read from torchvision's files."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Data, hookimpl
from hyperframe.tasks.augmentation import CropOptions, random_crop
from hyperframe.tasks.originals import FolderOptions, Originals, PublishedImages
from hyperframe.tasks.standardisation import Standardisation

# fmt: off
TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HUNDRED = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)
# fmt: on


@attrs.frozen(kw_only=True)
class Options(CropOptions, FolderOptions):
    """Options of the task."""


@attrs.frozen(kw_only=True)
class Source:
    """A data set in CIFAR's format.

    Attributes:
        name: the task's name.
        dataset: the name of torchvision's class.
        place: the folder of its files.
        train: MD5 of each file of training images, in their order. Other files are refused.
        test: the same of test images.
        labels: under which key of these files the labels are.
        classes: the classes' names, in their order.
        mean: of each channel over all training images, which have values in [0, 1].
        std: the standard deviation of each channel.
    """

    name: str
    dataset: str
    place: str
    train: dict[str, str]
    test: dict[str, str]
    labels: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


CIFAR10 = Source(
    name="cifar10",
    dataset="CIFAR10",
    place="cifar-10-batches-py",
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
    labels="labels",
    classes=TEN,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
CIFAR100 = Source(
    name="cifar100",
    dataset="CIFAR100",
    place="cifar-100-python",
    train={"train": "16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    labels="fine_labels",
    classes=HUNDRED,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)


class Cifar(PublishedImages):
    """Classifies 32 × 32 colour images of ten or a hundred classes, values in [0, 1].

    The first 5,000 of the 50,000 training images are for validation, the others for training; the 10,000 test images
    are for testing only. Networks run on images whose channels are standardised by the moments of the training images.

    Raises:
        DataError: the folder does not hold the data, and `download` is false; or a file is not the original.

    References: A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """

    input_shape = (3, 32, 32)
    options: Options

    def __init__(self, source: Source, options: Options) -> None:
        self.name = source.name
        self.source = source
        self.options = options
        self.classes = source.classes
        self.num_outputs = len(source.classes)
        self.standardised_inputs = Standardisation.read(source.mean, source.std, (3, 1, 1))
        self.originals = Originals(
            task=source.name,
            dataset=source.dataset,
            folder=options.path,
            place=options.path / source.place,
            digests=source.train | source.test,
        )

    def read(self, *, test: bool) -> Data:
        """Read all images for testing, or all others: bytes [examples, 3, 32, 32] and int64 labels [examples]."""
        names = self.source.test if test else self.source.train
        parts = [_read(self.originals.path(name), self.source.labels) for name in names]
        return Data(torch.cat([part.kept for part in parts]), torch.cat([part.y for part in parts]))

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Cut each training image out at a random place and flip it at random, as far as the options allow."""
        return random_crop(inputs, self.options, rng)

    def download(self) -> None:
        """Download the archive and unpack it, as torchvision does, which compares its digest."""
        from torchvision import datasets  # noqa: PLC0415  (slow to import)

        dataset: Any = getattr(datasets, self.source.dataset)
        self.originals.fetch([dataset.url], dataset.tgz_md5, self.originals.folder)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numbers, texts and numpy's arrays, and nothing that could run code."""

    ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct")})

    def find_class(self, module: str, name: str) -> Any:
        """Find what an array is made of."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array")
        return super().find_class(module, name)


def _read(path: Path, labels: str) -> Data:
    """Read one of the original files, which are pickles: bytes [examples, 3, 32, 32] and labels [examples]."""
    with path.open("rb") as file:
        content = _ArraysOnly(file, encoding="latin1").load()
    images = torch.from_numpy(content["data"]).view(-1, *Cifar.input_shape)
    return Data(images, torch.tensor(content[labels]))


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the tasks."""
    return [
        Component(
            name=source.name,
            factory=partial(Cifar, source),
            options=Options,
            summary=f"60,000 colour images of 32 × 32 pixels in {words} classes",
            reference="section 4.3",
        )
        for source, words in ((CIFAR10, "ten"), (CIFAR100, "a hundred"))
    ]
