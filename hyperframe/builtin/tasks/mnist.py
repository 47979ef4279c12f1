"""The task `mnist`: 70,000 handwritten digits of 28 × 28 pixels."""

import os
from pathlib import Path

import attrs
import torch

from hyperframe import ClassificationTask, Component, Data, hookimpl
from hyperframe.errors import DataError, unknown_name
from hyperframe.options import option

FOLDER_VARIABLE = "HYPERFRAME_DATA"
VALIDATION = 5000


@attrs.frozen(kw_only=True)
class Options:
    """Options of the task."""

    folder: str | None = option(None, "folder of the data; null: $HYPERFRAME_DATA, else ~/.cache/hyperframe/data")
    download: bool = option(False, "fetch the data into the folder where it is missing")


class Mnist(ClassificationTask):
    """28 × 28 grey images of ten digits, values in [0, 1].

    The first 5,000 of the 60,000 training images validate, the others train; the 10,000 test images only test.

    Raises:
        DataError: the folder does not hold the data, and `download` is false.
    """

    name = "mnist"
    input_shape = (1, 28, 28)
    num_outputs = 10

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def folder(self) -> Path:
        """Where the data is looked for."""
        chosen = self.options.folder or os.environ.get(FOLDER_VARIABLE)
        return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "hyperframe" / "data"

    def data(self, split: str) -> Data:
        """The split, as float32 [images, 1, 28, 28] and int64 labels."""
        from torchvision.datasets import MNIST  # noqa: PLC0415  (torchvision takes a second to import)

        if split not in ("train", "validation", "test"):
            raise ValueError(unknown_name("split", split, ("train", "validation", "test")))
        try:
            source = MNIST(str(self.folder), train=split != "test", download=self.options.download)
        except (RuntimeError, OSError, ValueError, AssertionError, IndexError) as error:
            if self.options.download or not (self.folder / "MNIST" / "raw").is_dir():
                raise DataError(self._missing(error)) from error
            raise DataError(
                f"task 'mnist': a file in {self.folder / 'MNIST' / 'raw'} is missing or damaged ({error}); "
                "remove the folder and fetch it again with task.download=true"
            ) from error
        images = source.data[:, None].to(torch.float32) / 255
        everything = Data(images, source.targets.long())
        if split == "test":
            return everything
        return everything[:VALIDATION] if split == "validation" else everything[VALIDATION:]

    def _missing(self, error: Exception) -> str:
        if self.options.download:
            return f"task 'mnist': the download into {self.folder} failed: {error}"
        return (
            f"task 'mnist': {self.folder} holds no MNIST data (expected {self.folder / 'MNIST' / 'raw'}). Set "
            f"task.folder or {FOLDER_VARIABLE} to a folder that does, or fetch it with task.download=true"
        )


def _build(options: Options) -> Mnist:
    return Mnist(options)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="mnist",
            factory=_build,
            options=Options,
            summary="70,000 handwritten digits of 28 × 28 pixels",
            reference="section 4.2",
        )
    ]
