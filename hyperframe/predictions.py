"""Predictions of drawn networks on a user's own inputs: read, checked, run, and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hyperframe.arrayfiles import ARRAY_FILES, image_paths, read_arrays, read_images
from hyperframe.errors import DataError
from hyperframe.files import whole_file, write_tensors
from hyperframe.owndata import as_inputs

RESULT_FILES = (".npz", ".safetensors")


def read_inputs(paths: Sequence[Path], shape: Sequence[int]) -> tuple[Tensor, list[str]]:
    """Read what networks are to be run on: one file of arrays, or images.

    Args:
        paths: a .npz or .safetensors file with `x`, a .npy file, or image files and folders of images.
        shape: of one input; images are scaled to it.

    Returns:
        Inputs [items, *shape], and a name for each item.

    Raises:
        DataError: what is there is not of the shape, no numbers, not finite, damaged or too large.
    """
    if len(paths) == 1 and paths[0].suffix in ARRAY_FILES:
        arrays = read_arrays(paths[0], ["x"])
        if "x" not in arrays:
            raise DataError(f"{paths[0]} holds no array 'x'")
        x = as_inputs(arrays["x"], f"{paths[0]}: x")
        if tuple(x.shape[1:]) != tuple(shape):
            wanted = ", ".join(map(str, ["items", *shape]))
            raise DataError(f"{paths[0]}: x has the shape {list(x.shape)}, the run's target takes [{wanted}]")
        return x, [str(number) for number in range(len(x))]
    array = next((path for path in paths if path.suffix in ARRAY_FILES), None)
    if array is not None:
        raise DataError(f"{array}: a file of arrays is taken alone, but {len(paths)} files were named")
    files = [file for path in paths for file in image_paths(path)]
    return read_images(files, shape), [str(file) for file in files]


def write_result(path: Path, figures: Mapping[str, Tensor]) -> None:
    """Write figures [items, ...] to a .npz or .safetensors file.

    Raises:
        RunError: the file cannot be written.
    """
    if path.suffix == ".safetensors":
        write_tensors(path, figures)
        return
    arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in figures.items()}
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def as_rows(figures: Mapping[str, Tensor], names: Sequence[str]) -> list[dict[str, object]]:
    """A row for each item: its name and its figures, as plain numbers.

    Example:
        >>> import torch
        >>> as_rows({"vote": torch.tensor([3])}, ["seven.png"])
        [{'item': 'seven.png', 'vote': 3}]
    """
    columns = {name: value.tolist() for name, value in figures.items()}
    return [{"item": item, **{name: column[row] for name, column in columns.items()}} for row, item in enumerate(names)]
