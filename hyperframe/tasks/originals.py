"""Data sets that others published: the folder in which they lie, and the original files in it."""

import os
import tarfile
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path

import attrs
import torch

from hyperframe.errors import DataError, unknown_name
from hyperframe.options import option
from hyperframe.runtime.files import digest, is_file, user_path
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.types import Data

FOLDER_VARIABLE = "HYPERFRAME_DATA"
VALIDATION = 5000
ALGORITHMS = {32: "md5", 64: "sha256"}
"""By the number of hexadecimal digits."""


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class FolderOptions:
    """Options: where data sets lie, and whether one that is missing is fetched."""

    folder: str | None = option(
        None, "folder of the data; null: $HYPERFRAME_DATA, else ~/.cache/hyperframe/data", location=True
    )
    download: bool = option(False, "fetch the data into the folder if it is missing", location=True)

    @property
    def path(self) -> Path:
        """The folder."""
        chosen = self.folder or os.environ.get(FOLDER_VARIABLE)
        return user_path(chosen) if chosen else Path.home() / ".cache" / "hyperframe" / "data"


@attrs.frozen(kw_only=True)
class Originals:
    """The files of a data set, of which no others are read.

    Attributes:
        task: the name of the task that reads them, for messages.
        dataset: what the data set is called, for messages.
        folder: the folder of data sets, for messages.
        place: the folder of the files.
        digests: SHA-256 or MD5 of each file, in hexadecimal digits.
    """

    task: str
    dataset: str
    folder: Path
    place: Path
    digests: Mapping[str, str]

    @property
    def missing(self) -> bool:
        """Whether a file is not there."""
        return not all(is_file(self.place / name) for name in self.digests)

    def path(self, name: str) -> Path:
        """Return the path of a file, after checking that it is the original.

        Raises:
            DataError: it is not, or not there.
        """
        path = self.place / name
        if not is_file(path):
            raise DataError(
                f"task '{self.task}': {self.folder} holds no {self.dataset} data (there is no {path}). Set "
                f"task.folder or {FOLDER_VARIABLE} to a folder that does, or fetch it with task.download=true"
            )
        wanted = self.digests[name]
        if digest(path, ALGORITHMS[len(wanted)]) != wanted:
            raise DataError(
                f"task '{self.task}': {path} is damaged, or not the original; remove it and fetch it again with "
                "task.download=true"
            )
        return path

    def fetch(self, urls: Sequence[str], md5: str, into: Path) -> None:
        """Download an archive from the first place that has it, compare its MD5, and unpack it.

        Raises:
            DataError: no place has it.
        """
        from torchvision.datasets.utils import download_and_extract_archive  # noqa: PLC0415  (slow to import)

        failures = []
        for url in urls:
            try:
                download_and_extract_archive(url, str(into), md5=md5)
            except (OSError, RuntimeError, EOFError, HTTPException, tarfile.ReadError) as error:
                failures.append(f"{url}: {error}")
            else:
                return
        raise DataError(f"task '{self.task}': the download into {into} failed: {'; '.join(failures)}")


class PublishedImages(ClassificationTask):
    """Base class of tasks on images that others published as bytes; a subclass reads and fetches them.

    The first 5,000 training images are for validation, the others for training; the test images are for testing only.

    Attributes:
        options: say where the data lie.
        originals: their files.
    """

    pixels = True
    options: FolderOptions
    originals: Originals

    def data(self, split: str) -> Data:
        """Read a split: bytes [examples, *input_shape] and int64 labels [examples]."""
        if split not in ("train", "validation", "test"):
            raise ValueError(unknown_name("split", split, ("train", "validation", "test")))
        if self.options.download and self.originals.missing:
            self.download()
        if split == "test":
            return self.read(test=True)
        everything = self.read(test=False)
        if split == "train":
            return everything[VALIDATION:]
        return everything[torch.arange(VALIDATION)]  # a copy, which does not hold all the others

    def read(self, *, test: bool) -> Data:
        """Read all images for testing, or all others; raises `DataError` where a file is missing or no original."""
        raise NotImplementedError

    def download(self) -> None:
        """Fetch the files that are missing; raises `DataError` where that fails."""
        raise NotImplementedError
