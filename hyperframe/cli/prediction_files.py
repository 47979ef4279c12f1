"""Predictions of drawn networks on a user's own inputs: read, checked, run, and written."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hyperframe.errors import DataError
from hyperframe.runtime.files import whole_file, write_tensors
from hyperframe.tasks.input_statistics import TrainedInputs
from hyperframe.tasks.own_data.array_files import ARRAY_FILES, array_names, image_paths, read_arrays, read_images
from hyperframe.tasks.own_data.array_names import chosen_inputs
from hyperframe.tasks.own_data.channels import laid_out
from hyperframe.tasks.own_data.tensors import as_inputs

RESULT_FILES = (".npz", ".safetensors")

Classes = Sequence[str] | Mapping[str, Sequence[str]]
"""Names of classes in the order of their numbers, or those of each head."""


def read_inputs(
    paths: Sequence[Path], shape: Sequence[int], trained: TrainedInputs | None = None
) -> tuple[Tensor, list[str]]:
    """Read what networks are to be run on: one file of arrays, or images.

    Args:
        paths: a .npz or .safetensors file with `x` or another usual name, a .npy file, or image files and folders of
            images.
        shape: of one input; images are scaled to it.
        trained: what the inputs of the training were like; a notice says where bytes or images are unlike them.

    Returns:
        Inputs [examples, *shape], and a name for each example.

    Raises:
        DataError: what is there is not of the shape, no numbers, not finite, damaged or too large.
    """
    if len(paths) == 1 and paths[0].suffix in ARRAY_FILES:
        name = chosen_inputs(array_names(paths[0]), str(paths[0]))
        array = read_arrays(paths[0], [name])[name]
        x = laid_out(as_inputs(array, f"{paths[0]}: {name}"), shape)
        if tuple(x.shape[1:]) != tuple(shape):
            wanted = ", ".join(map(str, ["examples", *shape]))
            raise DataError(f"{paths[0]}: {name} has the shape {list(x.shape)}, the run's target takes [{wanted}]")
        if trained is not None and str(array.dtype) in ("uint8", "torch.uint8"):
            trained.check_pixels(x)
        return x, [str(number) for number in range(len(x))]
    stray = next((path for path in paths if path.suffix in ARRAY_FILES), None)
    if stray is not None:
        raise DataError(f"{stray}: a file of arrays is taken alone, but {len(paths)} files were named")
    files = [file for path in paths for file in image_paths(path)]
    images = read_images(files, shape)
    if trained is not None:
        trained.check_aspects(files)
        trained.check_pixels(images)
    return images, [str(file) for file in files]


def write_result(path: Path, results: Mapping[str, Tensor], classes: Classes = ()) -> None:
    """Write results [examples, ...] to a .npz or .safetensors file.

    The names of classes, where there are any, are an array `classes` of texts, of heads `HEAD.classes`, or metadata
    `classes` as JSON.

    Raises:
        RunError: the file cannot be written.
    """
    if path.suffix == ".safetensors":
        write_tensors(path, results, {"classes": json.dumps(classes)} if classes else None)
        return
    arrays: dict[str, Any] = {name: value.cpu().numpy() for name, value in results.items()}
    arrays |= {f"{part}classes": np.array(own) for part, own in _of_parts(classes).items()}
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def as_rows(results: Mapping[str, Tensor], names: Sequence[str], classes: Classes = ()) -> list[dict[str, object]]:
    """A row for each example: its name, its results as plain numbers, and the name of the class that has most votes.

    A `set` is the numbers of the classes in it, or their names.

    Example:
        >>> import torch
        >>> as_rows({"vote": torch.tensor([1])}, ["a.png"], ["ant", "bee"])
        [{'example': 'a.png', 'vote': 1, 'class': 'bee'}]
        >>> as_rows({"insect.vote": torch.tensor([1])}, ["a.png"], {"insect": ["ant", "bee"]})
        [{'example': 'a.png', 'insect.vote': 1, 'insect.class': 'bee'}]
    """
    columns: dict[str, list[Any]] = {name: value.tolist() for name, value in results.items()}
    for part, own in _of_parts(classes).items():
        vote = f"{part}vote"
        if vote in columns and results[vote].dim() == 1:
            columns[f"{part}class"] = [own[number] for number in columns[vote]]
    if "set" in columns:
        known = _of_parts(classes).get("") or range(results["set"].shape[1])
        columns["set"] = [[known[number] for number, inside in enumerate(row) if inside] for row in columns["set"]]
    return [
        {"example": item, **{name: column[row] for name, column in columns.items()}} for row, item in enumerate(names)
    ]


def _of_parts(classes: Classes) -> dict[str, Sequence[str]]:
    """Names of classes by what the names of their results begin with: nothing, or the head and a point."""
    parts = {f"{head}.": own for head, own in classes.items()} if isinstance(classes, Mapping) else {"": classes}
    return {part: own for part, own in parts.items() if own}
