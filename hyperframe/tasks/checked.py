"""A task's attributes and its data, checked to be what the task says they are."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from hyperframe.errors import DataError, PluginError, described, others_code
from hyperframe.metrics import Metric, check_metrics
from hyperframe.runtime.files import as_json, from_json
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Data, Task


def check_declarations(task: Task) -> None:
    """Check a task's attributes: its shapes, metrics, names of classes, standardisations and facts.

    Raises:
        PluginError: one of them is something else than `hyperframe.Task` says; the message names it.

    Example:
        >>> from hyperframe.builtin.tasks.digits import Digits, Options
        >>> task = Digits(Options())
        >>> task.classes = "0123456789"
        >>> check_declarations(task)
        Traceback (most recent call last):
        hyperframe.errors.PluginError: task 'digits': classes must be a sequence of texts, but is '0123456789'
    """
    where = f"task '{task.name}'"
    for name in ("input_shape", "output_places"):
        sizes = getattr(task, name)
        if not isinstance(sizes, Sequence) or not all(_is_size(size) for size in sizes):
            raise PluginError(f"{where}: {name} must be a tuple of whole numbers from 1 on, but is {sizes!r}")
    if not _is_size(task.num_outputs):
        raise PluginError(f"{where}: num_outputs must be a whole number from 1 on, but is {task.num_outputs!r}")
    check_metrics(task.metrics, task.name)
    if not isinstance(task.score_metric, Metric):
        raise PluginError(f"{where}: score_metric must be a hyperframe.Metric, but is {task.score_metric!r}")
    _check_names(task.classes, f"{where}: classes")
    if task.classes and len(task.classes) != task.num_outputs:
        raise PluginError(
            f"{where}: classes must be one name for each of its {task.num_outputs} outputs, but are {len(task.classes)}"
        )
    for part, names in task.part_classes.items():
        _check_names(names, f"{where}: part_classes of '{part}'")
    for name in ("standardised_inputs", "standardised_labels"):
        value = getattr(task, name)
        if value is not None and not isinstance(value, Standardisation):
            raise PluginError(
                f"{where}: {name} must be a hyperframe.tasks.standardisation.Standardisation or None, but is {value!r}"
            )
    inputs, shape = task.standardised_inputs, tuple(task.input_shape)
    if inputs is not None and not (_goes_with(inputs.mean.shape, shape) and _goes_with(inputs.std.shape, shape)):
        raise PluginError(
            f"{where}: standardised_inputs has means of shape {list(inputs.mean.shape)} and deviations of shape "
            f"{list(inputs.std.shape)}, which do not go with inputs of shape {list(shape)}"
        )
    if task.facts is not None and not _is_plain(task.facts):
        raise PluginError(
            f"{where}: facts must be plain data that a JSON file gives back (lists, no tuples), but are {task.facts!r}"
        )


def load_data(task: Task, split: str) -> Data:
    """Load a split of a task's data and check it.

    Raises:
        DataError: it cannot be had, or `check_data` refuses it.
    """
    where = f"task '{task.name}', split '{split}'"
    with others_code(lambda error: DataError(f"{where}: its data cannot be had: {described(error)}")):
        data = task.data(split)
    check_data(task, split, data)
    return data


def check_data(task: Task, split: str, data: Data) -> None:
    """Check that a split of a task's data is what the task says it is.

    Raises:
        DataError: it is empty, or its inputs or labels have another type, shape or number.
    """
    where = f"task '{task.name}', split '{split}'"
    if not isinstance(data, Data) or not isinstance(data.kept, Tensor) or not isinstance(data.y, Tensor):
        raise DataError(f"{where}: expected Data of two tensors, but got {type(data).__name__}")
    if data.kept.dtype not in (torch.float32, torch.uint8):
        raise DataError(f"{where}: inputs must be float32, or pixels in uint8, but are {data.kept.dtype}")
    if data.kept.dtype == torch.uint8 and task.pixels is False:
        raise DataError(f"{where}: inputs in uint8 are pixels, which the task says they are not (`pixels`)")
    if tuple(data.kept.shape[1:]) != tuple(task.input_shape):
        shapes = f"{tuple(task.input_shape)}, but are {tuple(data.kept.shape[1:])}"
        raise DataError(f"{where}: inputs must have the shape {shapes}")
    if len(data) != len(data.y) or not len(data):
        raise DataError(f"{where}: there are {len(data)} inputs and {len(data.y)} labels")
    if not data.kept.isfinite().all():
        raise DataError(f"{where}: an input is not a finite number")
    counts = task.example_weights if split == "train" else None
    if counts is not None and (counts.shape != (len(data),) or not bool((counts.isfinite() & (counts >= 0)).all())):
        raise DataError(f"{where}: example_weights must be {len(data)} finite numbers from 0 on, one an input")
    task.check_labels(data.y, where)


def _is_size(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


def _check_names(names: object, what: str) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise PluginError(f"{what} must be a sequence of texts, but is {names!r}")


def _goes_with(shape: Sequence[int], inputs: Sequence[int]) -> bool:
    """Whether a tensor of a shape is broadcast over inputs, and leaves their shape as it is."""
    try:
        return tuple(torch.broadcast_shapes(tuple(shape), tuple(inputs))) == tuple(inputs)
    except RuntimeError:
        return False


def _is_plain(facts: Any) -> bool:
    """Whether a file gives back what it is given."""
    if not isinstance(facts, Mapping):
        return False
    try:
        return from_json(as_json(facts)) == facts
    except (TypeError, ValueError):
        return False
