"""The task `arrays`: a user's own arrays in a file, for classification or regression."""

from pathlib import Path

import attrs

from hyperframe import Component, hookimpl
from hyperframe.arrayfiles import read_arrays
from hyperframe.errors import DataError
from hyperframe.options import option
from hyperframe.owndata import ARRAYS, OwnClassification, OwnOptions, OwnRegression, own_task


@attrs.frozen(kw_only=True)
class Options(OwnOptions):
    """Options of the task."""

    file: str | None = option(None, "a .npz or .safetensors file with the arrays x and y; x_test, … are splits")


def build(options: Options) -> OwnClassification | OwnRegression:
    """Read the file, and make a task of its arrays."""
    if options.file is None:
        raise DataError("task 'arrays' needs a file: set task.file to a .npz or .safetensors file with x and y")
    return own_task("arrays", read_arrays(Path(options.file).expanduser(), ARRAYS), options)


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="arrays",
            factory=build,
            options=Options,
            summary="own arrays x and y from a .npz or .safetensors file: classification or regression",
        )
    ]
