"""A user's own torch Dataset as arrays: its examples read one after the other, with a label or labels by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from hyperframe.errors import DataError, described, others_code
from hyperframe.runtime.memory import missing_memory
from hyperframe.tasks.own_data.tensors import as_tensor
from hyperframe.types import UNLABELLED


def read_examples(dataset: "Dataset[Any]") -> dict[str, Any]:
    """All examples of a data set whose examples are pairs: `x`, and `y`, by head where labels are mappings.

    Raises:
        DataError: it has no length or no numbered examples, an example is something else than the first one or cannot
            be had, or all of them do not fit into memory.

    Example:
        >>> found = read_examples([(torch.zeros(3), {"shape": 1, "place": torch.ones(2)})] * 4)
        >>> found["x"].shape, {head: tuple(labels.shape) for head, labels in found["y"].items()}
        (torch.Size([4, 3]), {'shape': (4,), 'place': (4, 2)})
    """
    if not hasattr(dataset, "__len__") or isinstance(dataset, IterableDataset):
        raise DataError("data: the Dataset has no length, or no numbered examples; one with both is needed")
    xs: list[Tensor] = []
    ys: list[dict[Any, Tensor]] = []
    with others_code(lambda error: DataError(f"data: the length of the Dataset: {described(error)}")):
        length = len(dataset)
    for number in range(length):
        item = _example(dataset, number)
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"data: example {number} of the Dataset is {type(item).__name__}, expected a pair (x, y)")
        xs.append(as_tensor(item[0], f"data: x of example {number}"))
        ys.append(_labels(item[1], f"data: y of example {number}"))
        if ys[number].keys() != ys[0].keys():
            raise DataError(
                f"data: y of example {number} has {_heads(ys[number])}, that of example 0 {_heads(ys[0])}; all need "
                f"the same, and an example without a class in one has {UNLABELLED} there"
            )
        missing = missing_memory(2 * length * xs[0].nbytes) if number == 0 else None
        if missing:
            raise DataError(f"data: {length:,} examples are too many: {missing}")
    if not xs:
        raise DataError("data: the Dataset is empty")
    heads = {head: _stacked([own[head] for own in ys], _named(head)) for head in ys[0]}
    return {"x": _stacked(xs, "x"), "y": heads.get(None, heads)}


def _example(dataset: "Dataset[Any]", number: int) -> Any:
    with others_code(lambda error: DataError(f"data: example {number} of the Dataset: {described(error)}")):
        return dataset[number]


def _labels(y: Any, where: str) -> dict[Any, Tensor]:
    """Labels by the names of heads; the only label of an example is under None."""
    if isinstance(y, Mapping):
        return {head: _label(own, f"{where}, head '{head}',") for head, own in y.items()}
    return {None: _label(y, where)}


def _label(y: Any, where: str) -> Tensor:
    try:
        return torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where} is {type(y).__name__}, expected a number or an array of numbers") from error


def _heads(labels: Mapping[Any, Tensor]) -> str:
    return "no heads" if None in labels else f"heads {', '.join(map(str, labels)) or 'of none'}"


def _named(head: str | None) -> str:
    return "y" if head is None else f"y, head '{head}',"


def _stacked(parts: Sequence[Tensor], what: str) -> Tensor:
    """Inputs or labels of all examples, which must be alike."""
    for number, part in enumerate(parts):
        if part.shape != parts[0].shape or part.dtype != parts[0].dtype:
            raise DataError(
                f"data: {what} of example {number} is {part.dtype} {list(part.shape)}, that of example 0 "
                f"{parts[0].dtype} {list(parts[0].shape)}"
            )
    return torch.stack(list(parts))
