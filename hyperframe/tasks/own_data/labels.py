"""Labels of a user's own data: of which kind they are, by their numbers and their shape, as tasks take them."""

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.errors import DataError, notice
from hyperframe.tasks.own_data.class_names import (
    Classes,
    are_values,
    as_classes,
    is_one_hot,
    is_whole,
    one_hot_axis,
    texts_as_numbers,
)
from hyperframe.tasks.own_data.kinds import NO_CLASSES, Kind, Said
from hyperframe.tasks.own_data.tensors import as_tensor, check_finite
from hyperframe.types import UNLABELLED


@attrs.frozen(kw_only=True, eq=False)
class Labels:
    """Labels of one kind.

    Attributes:
        kind: of the task that they are labels of.
        of_splits: for each split the labels, as the tasks of this kind take them.
        outputs: how many outputs an example, or a place, has.
        places: sizes of the axes of places, such as height and width; none where an example has one label.
        names: of the classes; none where they are called by their numbers.
    """

    kind: Kind
    of_splits: Mapping[str, Tensor]
    outputs: int
    places: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


def read_labels(
    arrays: Mapping[str, Any],
    examples: Mapping[str, int],
    said: Said,
    where: str,
    *,
    partly: bool = False,
) -> Labels:
    """Find out what labels are, and bring them into the form that tasks take.

    Args:
        arrays: for each split, "train" and others, an array of labels.
        examples: how many inputs each split has.
        said: what options say of them. By "auto" whole numbers and texts are classes, of examples or, with two axes and
            more behind the examples', of places; other numbers are values.
        where: they come from, for messages.
        partly: whether −1 among classes says that an example has no label, as in a head, with a notice; else it is a
            class like any other. Of places it always says so.

    Raises:
        DataError: they are of no such kind, or it is not clear of which.
    """
    by_name = {_name(split): array for split, array in arrays.items()}
    numbers, names = _numbered_texts(by_name, said, where)
    labels = {split: as_tensor(numbers[_name(split)], f"{where}: {_name(split)}") for split in arrays}
    for split, y in labels.items():
        if len(y) != examples[split]:
            name = _name(split)
            inputs = name.replace("y", "x", 1)
            raise DataError(
                f"{where}: {inputs} holds {examples[split]} examples, but {name} {len(y)} labels; "
                "each example needs one"
            )
        if y.is_floating_point():  # as whole numbers they would be classes
            check_finite(y[:, None].float(), f"{where}: {_name(split)}")
    _check_classes(labels, said, where)
    shapes = {tuple(y.shape[1:]) for y in labels.values()}
    kind = said.kind if said.kind != "auto" else _kind_of(labels, said, where)
    if kind == "multi_label":
        return _of_several(labels, shapes, said, where)
    if kind == "dense_classification":
        return _of_places(labels, shapes, said, names, where)
    if are_values({_name(split): y for split, y in labels.items()}, said, where):
        values = {split: _values(y, said, where) for split, y in labels.items()}
        if len({y.shape[1] for y in values.values()}) > 1:
            raise DataError(f"{where}: the splits have labels of different sizes")
        return Labels(kind="regression", of_splits=values, outputs=values["train"].shape[1])
    found = _of_some(labels, said.classes, where) if partly else as_classes(labels, said.classes, where)
    names = names or found.names
    return Labels(kind="classification", of_splits=found.labels, outputs=found.number, names=names)


def _name(split: str) -> str:
    return "y" if split == "train" else f"y_{split}"


def _check_classes(labels: Mapping[str, Tensor], said: Said, where: str) -> None:
    """Raise `DataError` where options say that labels are classes, or how many classes there are, and they are none."""
    if said.kind in NO_CLASSES and said.classes is not None:
        raise DataError(
            f"{where}: task.classes is {said.classes}, but {said.setting(said.kind)} has none; {said.without_classes()}"
        )
    if said.kind in NO_CLASSES or (said.kind == "auto" and said.classes is None):
        return
    broken = next((split for split, y in labels.items() if not is_whole(y)), None)
    if broken is not None:
        way = said.without_classes() if said.kind == "auto" else f"set {said.setting('regression')}"
        dtype = str(labels[broken].dtype).removeprefix("torch.")
        raise DataError(
            f"{where}: classes must be whole numbers, but {_name(broken)} is {dtype}; where they are values, {way}"
        )


def _numbered_texts(labels: Mapping[str, Any], said: Said, where: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The arrays, with numbers for labels that are texts, and the texts that the numbers stand for."""
    try:
        numbered, names = texts_as_numbers(labels)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    wanted = {
        "regression": "are no values to be predicted",
        "multi_label": "do not say with 0 or 1 which labels there are",
    }
    if names and said.kind in wanted:
        raise DataError(
            f"{where}: y holds texts, which {wanted[said.kind]} ({said.setting(said.kind)}); "
            f"{said.setting('classification')} reads them as classes"
        )
    return numbered, names


def _kind_of(labels: Mapping[str, Tensor], said: Said, where: str) -> str:
    """Whether whole numbers are classes of places, by their shape; "auto" where an example has one label, or values."""
    y = labels["train"]
    axis = one_hot_axis(y)
    if axis is not None:
        wanted = ", ".join(["examples", *(str(size) for at, size in enumerate(y.shape) if at not in (0, axis))])
        raise DataError(
            f"{where}: y is one-hot along axis {axis}, {list(y.shape)}, expected the number of each place's class, "
            f"[{wanted}]: hand over y.argmax({axis}). Where these are indeed classes 0 and 1 of "
            f"{_of_all(y)} places, set {said.setting('dense_classification')}"
        )
    if y.is_floating_point() or y.dim() == 1 or y.shape[1:] == (1,) or is_one_hot(y):
        return "auto"
    if _without_axis(y):
        raise DataError(
            f"{where}: y is whole numbers {list(y.shape)} with an axis of size 1, which masks of classes do without: "
            f"hand over {_without_axis(y)}. Where these are indeed classes of {_of_all(y)} places, set "
            f"{said.setting('dense_classification')}"
        )
    if y.dim() > 2:
        notice(f"{where}: y is whole numbers {list(y.shape)}, and read as a class for each of {_of_all(y)} places")
        return "dense_classification"
    raise DataError(
        f"{where}: y has the shape {list(y.shape)}, expected a class for each example, [examples]. Where these are "
        f"classes of {y.shape[1]} places, such as the steps of a sequence, set "
        f"{said.setting('dense_classification')}; where they are 0 or 1, for labels of which an example can have "
        f"several, {said.setting('multi_label')}; where they are values, {said.setting('regression')}"
    )


def _without_axis(y: Tensor) -> str:
    """Labels [examples, 1, ...] or [examples, ..., 1] without the axis of size 1, as one writes it; else nothing."""
    axes = {1: "y[:, 0]", y.dim() - 1: "y[..., 0]"} if y.dim() > 2 else {}
    return next((way for axis, way in axes.items() if y.shape[axis] == 1), "")


def _shapes(labels: Mapping[str, Tensor]) -> str:
    """The shapes of labels in words, of all splits where examples of some have another one."""
    alike = len({y.shape[1:] for y in labels.values()}) == 1
    told = ["train"] if alike else list(labels)
    return " and ".join(f"{_name(split)} has the shape {list(labels[split].shape)}" for split in told)


def _of_all(y: Tensor) -> str:
    return " × ".join(map(str, y.shape[1:]))


def _of_several(labels: Mapping[str, Tensor], shapes: set[tuple[int, ...]], said: Said, where: str) -> Labels:
    """Labels that are there or not."""
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) != 1:
        raise DataError(
            f"{where}: y has the shape {[*labels['train'].shape]}, expected 0 or 1, [examples, labels]{said.of_all()}"
        )
    for y in labels.values():
        odd = y[(y != 0) & (y != 1)]
        if len(odd):
            raise DataError(
                f"{where}: labels that are there or not are 1 or 0, but one is {odd[0].item():g}{said.of_all()}"
            )
    return Labels(kind="multi_label", of_splits={split: y.long() for split, y in labels.items()}, outputs=shape[0])


def _of_places(
    labels: Mapping[str, Tensor], shapes: set[tuple[int, ...]], said: Said, names: tuple[str, ...], where: str
) -> Labels:
    """Classes of places: numbered from 0 without gaps, where their number is not said; −1 stays."""
    places = next(iter(shapes))
    if len(shapes) > 1 or not places:
        raise DataError(
            f"{where}: {_shapes(labels)}, expected a class for each place, [examples, …], with as many places in each "
            f"split{said.of_all()}"
        )
    axis = one_hot_axis(labels["train"])
    if axis is not None:
        notice(
            f"{where}: y is one-hot along axis {axis}, and its 0 and 1 are read as classes of "
            f"{_of_all(labels['train'])} places, as {said.setting(said.kind)} says; y.argmax({axis}) is the "
            "number of each place's class"
        )
    if _without_axis(labels["train"]):
        notice(
            f"{where}: y is read as classes of {_of_all(labels['train'])} places, as {said.setting(said.kind)} says; "
            f"{_without_axis(labels['train'])} has no axis of size 1"
        )
    found = _number_labelled(labels, said.classes, where)
    names = names or found.names
    return Labels(kind="dense_classification", of_splits=found.labels, outputs=found.number, places=places, names=names)


def _of_some(labels: Mapping[str, Tensor], classes: int | None, where: str) -> Classes:
    """Classes of examples, some of which may have none, −1."""
    labels = {split: y[:, 0] if y.shape[1:] == (1,) else y for split, y in labels.items()}
    lacking = sum(int((_signed(y) == UNLABELLED).sum()) for y in labels.values())
    if not lacking or any(y.dim() > 1 for y in labels.values()):
        return as_classes(labels, classes, where)
    every = sum(len(y) for y in labels.values())
    notice(
        f"{where}: {lacking:,} of {every:,} labels are {UNLABELLED}, which says that these examples have no label in "
        "this head"
    )
    return _number_labelled(labels, classes, where)


def _number_labelled(labels: Mapping[str, Tensor], classes: int | None, where: str) -> Classes:
    """Classes numbered as `as_classes` does it, in labels of any shape of which −1 stays."""
    labels = {split: _signed(y) for split, y in labels.items()}
    seen = {split: y != UNLABELLED for split, y in labels.items()}
    for split, marks in seen.items():
        if not marks.any():
            raise DataError(
                f"{where}: all of {_name(split)} is {UNLABELLED}, which means that there is no label; give some of "
                "its examples one"
            )
    found = as_classes({split: y[seen[split]] for split, y in labels.items()}, classes, where)
    numbered = {split: torch.full(y.shape, UNLABELLED) for split, y in labels.items()}
    for split, y in numbered.items():
        y[seen[split]] = found.labels[split]
    return attrs.evolve(found, labels=numbered)


def _signed(y: Tensor) -> Tensor:
    """Labels among which −1 is −1: as bytes it would be 255, which masks have for the second of two classes."""
    return y if y.is_floating_point() else y.long()


def _values(y: Tensor, said: Said, where: str) -> Tensor:
    """Values to be predicted, in their own units: float64 [examples, values]."""
    if y.dim() > 2:
        way = f"; {_without_axis(y)} has one less" if _without_axis(y) else ""
        raise DataError(
            f"{where}: y has the shape {list(y.shape)}, expected [examples] or [examples, values]; only classes of "
            f"places ({said.setting('dense_classification')}) have more axes{way}"
        )
    return y.double().reshape(len(y), -1)


def check_several(own: Tensor, labels: Labels, where: str) -> None:
    """Raise `DataError` where labels to train on, some of `labels`, are classes and all the same."""
    if labels.kind in NO_CLASSES:
        return
    seen = own[own != UNLABELLED]
    if not len(seen):
        return
    low, high = int(seen.min()), int(seen.max())
    if low == high:
        only = labels.names[low] if labels.names else low
        none = "" if seen.numel() == own.numel() else f" or {UNLABELLED}, which says that there is none"
        way = none and f"; where {UNLABELLED} is a class, number the classes from 0"
        raise DataError(
            f"{where}: all labels to train on are {only}{none}; there is nothing to tell apart, two classes are "
            f"needed{way}"
        )
