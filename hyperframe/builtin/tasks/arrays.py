"""The task `arrays`: a user's own arrays in a file, for classification or regression."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from hyperframe import Component, hookimpl, option
from hyperframe.errors import DataError
from hyperframe.runtime.files import user_path
from hyperframe.tasks.own_data.array_files import array_names, read_arrays
from hyperframe.tasks.own_data.array_names import chosen_parts, with_heads
from hyperframe.tasks.own_data.arrays import OwnOptions, own_task
from hyperframe.tasks.own_data.facts import OwnTask, restore_task


@attrs.frozen(kw_only=True)
class Options(OwnOptions):
    """Options of the task."""

    file: str | None = option(
        None, "a .npz or .safetensors file with x and y (or data and target), and x_test, … for splits", location=True
    )


def build(options: Options, heads: Sequence[str] = ()) -> OwnTask:
    """Read the file and make a task of its arrays; `heads` are in the order of a run's, where it is the data of one."""
    if options.file is None:
        raise DataError("task 'arrays' needs a file: set task.file to a .npz or .safetensors file with x and y")
    path = user_path(options.file)
    parts = chosen_parts(array_names(path), f"task 'arrays': {path}")
    arrays = read_arrays(path, list(parts.values()))
    where = f"task 'arrays': {path}"
    return own_task("arrays", with_heads({part: arrays[name] for part, name in parts.items()}, where), options, heads)


def restore(options: Options, facts: Mapping[str, Any]) -> OwnTask:
    """Restore the task of a run; its file is read when data is asked for."""
    return restore_task("arrays", facts, partial(build, options))


@hookimpl
def hyperframe_tasks() -> list[Component]:
    """Register the task."""
    return [
        Component(
            name="arrays",
            factory=build,
            options=Options,
            restore=restore,
            summary="own arrays x and y from a .npz or .safetensors file: classification or regression",
        )
    ]
