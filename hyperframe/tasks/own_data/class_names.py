"""Labels of a user's own data as classes, with their names: whole numbers of any kind, texts and one-hot rows."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe.errors import DataError, notice
from hyperframe.tasks.own_data.kinds import Said

EXAMPLES_A_CLASS = 3
"""Examples a class, in the mean, from which on whole numbers are classes where they are not of a whole-number type."""

MANY_CLASSES = 20
"""So many classes with so few examples each are told of."""


def texts_as_numbers(labels: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Number labels that are texts, in the order of the alphabet; others are returned as they are, without names.

    Args:
        labels: for the name of each array of labels the array.

    Raises:
        DataError: some of the arrays are texts, others are not.

    Example:
        >>> texts_as_numbers({"y": np.array(["cat", "ant", "cat"])})
        ({'y': array([1, 0, 1])}, ('ant', 'cat'))
    """
    texts = {name: isinstance(array, np.ndarray) and array.dtype.kind in "US" for name, array in labels.items()}
    if not any(texts.values()):
        return dict(labels), ()
    for name, is_text in texts.items():
        if not is_text:
            raise DataError(f"{name} holds numbers, other arrays of labels hold texts")
    read = {name: np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y for name, y in labels.items()}
    names = np.unique(np.concatenate([array.ravel() for array in read.values()]))
    return {name: np.searchsorted(names, array) for name, array in read.items()}, tuple(map(str, names))


def is_one_hot(y: Tensor) -> bool:
    """Whether labels [examples, classes] have a single 1 in each row, zeros else, and more than one column.

    Example:
        >>> is_one_hot(torch.eye(3)), is_one_hot(torch.rand(3, 3))
        (True, False)
    """
    return y.dim() == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())


def is_whole(y: Tensor) -> bool:
    """Whether labels are whole numbers, of whatever type, that int64 can hold.

    Example:
        >>> is_whole(torch.tensor([1.0, -2.0])), is_whole(torch.tensor([0.5])), is_whole(torch.tensor([1e30]))
        (True, False, False)
    """
    return not y.is_floating_point() or bool((y.to(torch.int64).to(y.dtype) == y).all())


def one_hot_axis(y: Tensor) -> int | None:
    """The axis of classes where labels of places are one-hot, with all values 0 or 1, behind the examples' or the last.

    Example:
        >>> masks = torch.eye(3)[torch.randint(3, (5, 4, 6))]
        >>> one_hot_axis(masks), one_hot_axis(masks.movedim(-1, 1)), one_hot_axis(torch.ones(5, 4, 6))
        (3, 1, None)
    """
    if y.dim() < 3 or not bool(((y == 0) | (y == 1)).all()):
        return None
    return next((axis for axis in (1, y.dim() - 1) if y.shape[axis] > 1 and bool((y.sum(axis) == 1).all())), None)


def are_values(labels: Mapping[str, Tensor], said: Said, where: str) -> bool:
    """Whether labels are values to be predicted, and not classes; a notice says so where they could be both.

    Floating-point numbers are classes where all are whole and there are some examples of each, or where rows are
    one-hot.

    Args:
        labels: for the name of each array of labels the array.
        said: what options say of them: that they are "classification", "regression", or "auto".
        where: they come from, for messages.

    Raises:
        DataError: it is not clear.
    """
    if said.kind != "auto" or said.classes is not None or all(is_one_hot(y) for y in labels.values()):
        return said.kind == "regression"
    broken = [name for name, y in labels.items() if y.is_floating_point()]
    values = torch.cat([y.double().flatten() for y in labels.values()])
    one_column = all(y.dim() == 1 or y.shape[1:] == (1,) for y in labels.values())
    if not one_column or not bool((values == values.round()).all()):
        if 0 < len(broken) < len(labels):
            listed = ", ".join(f"{name} is {str(y.dtype).removeprefix('torch.')}" for name, y in labels.items())
            raise DataError(
                f"{where}: {listed}; whole numbers are classes, others are values: set "
                f"{said.setting('classification')} or {said.setting('regression')}"
            )
        return bool(broken)
    examples, different = len(values), len(values.unique())
    several = different * EXAMPLES_A_CLASS <= examples
    if broken or (not several and different > MANY_CLASSES):
        read, other = (
            ("values to be predicted", "classification") if broken and not several else ("classes", "regression")
        )
        notice(
            f"{where}: y holds whole numbers{' as floating-point numbers' if broken else ''}, {different} different "
            f"ones in {examples} examples; they are read as {read}, {said.setting(other)} reads them the other way"
        )
    return bool(broken) and not several


@attrs.frozen(kw_only=True, eq=False)
class Classes:
    """Labels as numbers of classes.

    Attributes:
        labels: for each split int64 [examples].
        number: how many classes there are.
        names: theirs; none where a class is called by its number.
    """

    labels: Mapping[str, Tensor]
    number: int
    names: tuple[str, ...] = ()


def as_classes(labels: Mapping[str, Tensor], classes: int | None, where: str) -> Classes:
    """Number classes from 0 without gaps.

    Args:
        labels: for each split whole numbers [examples] or [examples, 1], or one-hot [examples, classes].
        classes: their number where it is known; labels then keep the numbers that they have.
        where: they come from, for messages.

    Raises:
        DataError: labels have another shape, or are none of the classes.

    Example:
        >>> found = as_classes({"train": torch.tensor([1, 5, 5])}, None, "here")
        >>> found.labels["train"].tolist(), found.number, found.names
        ([0, 1, 1], 2, ('1', '5'))
    """
    if all(is_one_hot(y) for y in labels.values()) and len({y.shape[1] for y in labels.values()}) == 1:
        number = next(iter(labels.values())).shape[1]
        notice(f"{where}: y is one-hot, [examples, {number}], and read as the class of each example")
        labels = {split: y.int().argmax(1) for split, y in labels.items()}
        classes = number if classes is None else classes
    whole = {split: _whole(y, where) for split, y in labels.items()}
    found = torch.cat(list(whole.values())).unique()
    low, high = int(found[0]), int(found[-1])
    if classes is not None:
        if low < 0 or high >= classes:
            raise DataError(f"{where}: labels must lie between 0 and {classes - 1}, but go from {low} to {high}")
        return Classes(labels=whole, number=classes)
    if low == 0 and high == len(found) - 1:
        return Classes(labels=whole, number=len(found))
    numbered = {split: torch.searchsorted(found, y) for split, y in whole.items()}
    return Classes(labels=numbered, number=len(found), names=tuple(str(int(value)) for value in found))


def _whole(y: Tensor, where: str) -> Tensor:
    """Whole numbers: int64 [examples]."""
    y = y[:, 0] if y.dim() == 2 and y.shape[1] == 1 else y
    if y.dim() != 1:
        raise DataError(f"{where}: y has the shape {list(y.shape)}, expected a class for each example, [examples]")
    return y.to(torch.int64)
