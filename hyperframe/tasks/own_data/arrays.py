"""A user's own arrays: checked, divided into splits, and made a task of classification or regression."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe.errors import DataError, notice
from hyperframe.options import option
from hyperframe.runtime.memory import missing_memory
from hyperframe.tasks.own_data.channels import channels_first
from hyperframe.tasks.own_data.class_names import are_values, as_classes, texts_as_numbers
from hyperframe.tasks.own_data.facts import OwnClassification, OwnFacts, OwnRegression, OwnTask
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Data

FEW_EXAMPLES = 10
"""Below so many examples to be divided, a notice says that they are few."""
ARRAYS = ("x", "y", "x_validation", "y_validation", "x_test", "y_test")
"""The names of arrays that make a task."""

_WHOLE = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64"
_BROKEN = "float16 bfloat16 float32 float64"
_NUMBERS = frozenset(getattr(torch, name) for name in f"{_WHOLE} {_BROKEN}".split())


@attrs.frozen(kw_only=True)
class SplitOptions:
    """Options: how own data are divided."""

    validation: float = option(
        0.1, "part of the examples that validates, where no split of its own is given", minimum=0
    )
    test: float = option(0.1, "part of the examples that tests, where no split of its own is given", minimum=0)
    split_seed: int = option(0, "seed of the random division", minimum=0)

    def __attrs_post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation and test are {self.validation} and {self.test}; nothing is left to train on")


@attrs.frozen(kw_only=True)
class OwnOptions(SplitOptions):
    """Options: how own arrays are divided, and what their labels are."""

    kind: Literal["auto", "classification", "regression"] = option(
        "auto", "auto: whole numbers and texts are classes, other numbers are values to be predicted"
    )
    classes: int | None = option(None, "number of classes, 0, 1, …; null: the labels that occur", minimum=2)
    standardise: bool = option(
        True, "inputs of a table, [features], are shifted and scaled to mean 0 and deviation 1 of the training examples"
    )


def own_task(name: str, arrays: Mapping[str, Any], options: OwnOptions) -> OwnTask:
    """Make a task of arrays.

    Args:
        name: the task's name.
        arrays: `x` [examples, ...] and `y` [examples] or [examples, values], tensors or numpy arrays; classes can be
            texts. Where there are also
            `x_test` and `y_test`, or `x_validation` and `y_validation`, they are those splits; the others are drawn
            from `x` and `y`.
        options: how they are divided and what `y` means.

    Raises:
        DataError: something in them is missing, has another type, shape or number than it should, is not finite, or
            cannot be learnt from.

    Example:
        >>> x, y = torch.rand(50, 3), torch.arange(50) % 4
        >>> task = own_task("mine", {"x": x, "y": y}, OwnOptions())
        >>> task.num_outputs, len(task.data("train")), len(task.data("test"))
        (4, 40, 5)
    """
    where = f"task '{name}'"
    arrays, names = _numbered_texts(arrays, options, where)
    given = {"train": _pair(arrays, "x", "y", where)}
    for split in ("validation", "test"):
        if f"x_{split}" in arrays or f"y_{split}" in arrays:
            given[split] = _pair(arrays, f"x_{split}", f"y_{split}", where)
    shape = given["train"].x.shape[1:]
    for split, data in given.items():
        if data.x.shape[1:] != shape:
            raise DataError(
                f"{where}: x_{split} has examples of shape {list(data.x.shape[1:])}, but those of x, which are trained "
                f"on, have {list(shape)}; they must be alike"
            )
    pixels = _are_pixels(arrays, given, where)
    labels = {"y" if split == "train" else f"y_{split}": data.y for split, data in given.items()}
    if are_values(labels, options.kind, options.classes, where):
        values = {split: Data(data.x, _values(data.y, where)) for split, data in given.items()}
        if len({data.y.shape[1] for data in values.values()}) > 1:
            raise DataError(f"{where}: the splits have labels of different sizes")
        splits = divide(values, options, where)
        outputs = splits["train"].y.shape[1]
        facts = OwnFacts(
            kind="regression",
            input_shape=tuple(shape),
            num_outputs=outputs,
            pixels=pixels,
            **_input_moments(splits["train"].x, options, where),
            **_moments("label", Standardisation.of(splits["train"].y)),
        )
        return OwnRegression(name, facts, lambda: splits)
    classes = as_classes({split: data.y for split, data in given.items()}, options.classes, where)
    names = names or classes.names
    splits = divide({split: Data(given[split].x, y) for split, y in classes.labels.items()}, options, where)
    _check_several(splits["train"].y, names, where)
    facts = OwnFacts(
        kind="classification",
        input_shape=tuple(shape),
        num_outputs=classes.number,
        classes=names,
        pixels=pixels,
        **_input_moments(splits["train"].x, options, where),
    )
    return OwnClassification(name, facts, lambda: splits)


def _input_moments(x: Tensor, options: OwnOptions, where: str) -> dict[str, Any]:
    """Say how inputs to train on, [examples, ...], are standardised: a table's are, unless told not to."""
    if x.dim() != 2 or not options.standardise:
        return {}
    found = Standardisation.of(x)
    coarse = found.coarse()
    if coarse:
        mean, std = float(found.mean[coarse[0]]), float(found.std[coarse[0]])
        notice(
            f"{where}: {len(coarse)} of {x.shape[1]} features hardly vary for their size, the first is number "
            f"{coarse[0]} with mean {mean:.6g} and deviation {std:.3g}, and lose digits in float32: subtract a constant"
        )
    return _moments("input", found)


def _moments(of: str, found: Standardisation) -> dict[str, Any]:
    return {f"{of}_{name}": tuple(values) for name, values in found.plain().items()}


def _numbered_texts(
    arrays: Mapping[str, Any], options: OwnOptions, where: str
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The arrays, with numbers for labels that are texts, and the texts that the numbers stand for."""
    labels = {name: arrays[name] for name in ("y", "y_validation", "y_test") if name in arrays}
    try:
        numbered, names = texts_as_numbers(labels)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    if names and options.kind == "regression":
        raise DataError(f"{where}: y holds texts, which are no values to be predicted (task.kind=regression)")
    return {**arrays, **numbered}, names


def _are_pixels(arrays: Mapping[str, Any], given: Mapping[str, Data], where: str) -> bool:
    """Whether inputs are bytes; raises `DataError` where those of one split are, and of another are not."""
    names = ["x" if split == "train" else f"x_{split}" for split in given]
    types = {name: str(arrays[name].dtype).removeprefix("torch.") for name in names}
    if "uint8" in types.values() and len(set(types.values())) > 1:
        listed = ", ".join(f"{name} is {kind}" for name, kind in types.items())
        raise DataError(f"{where}: {listed}; bytes are divided by 255 and others are not: give all the same type")
    return "uint8" in types.values()


def _pair(arrays: Mapping[str, Any], x: str, y: str, where: str) -> Data:
    for name, what in ((x, f"the inputs of '{y}'"), (y, f"the labels of '{x}'")):
        if name not in arrays:
            found = ", ".join(sorted(map(str, arrays)))
            raise DataError(f"{where}: there is no array '{name}', {what}; found: {found or 'none'}")
    inputs = channels_first(as_inputs(arrays[x], f"{where}: {x}"), f"{where}: {x}")
    data = Data(inputs, as_tensor(arrays[y], f"{where}: {y}"))
    if len(data.x) != len(data.y):
        raise DataError(
            f"{where}: {x} holds {len(data.x)} examples, but {y} {len(data.y)} labels; each example needs one"
        )
    return data


def as_tensor(array: Any, where: str) -> Tensor:
    """Return an array of numbers as a tensor on the CPU.

    Raises:
        DataError: it is none, or is empty.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"{where} is a masked array, whose mask would be lost; fill it, or leave those examples out")
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        # An array may be read-only, or have its bytes in another order.
        tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    elif isinstance(array, np.ndarray):
        raise DataError(f"{where} is {array.dtype}, expected real numbers of at most 64 bits")
    elif isinstance(array, Tensor):
        tensor = array.detach().clone()  # the caller's may change later
    else:
        raise DataError(f"{where} is {type(array).__name__}, expected a tensor or a numpy array")
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        raise DataError(f"{where} is a sparse or nested tensor, or has no numbers; expected a dense one")
    if tensor.dtype not in _NUMBERS:
        raise DataError(f"{where} is {_word(tensor.dtype)}, expected real numbers")
    if tensor.dim() == 0:
        raise DataError(f"{where} is a single number, expected an array")
    if not tensor.numel():
        raise DataError(f"{where} has the shape {list(tensor.shape)}, expected one or more examples")
    return tensor.cpu()


def as_inputs(array: Any, where: str) -> Tensor:
    """Return inputs [examples, ...] as float32; uint8 are taken for pixels and divided by 255.

    Raises:
        DataError: they are no numbers, have no axis beside the examples', or are not finite.

    Example:
        >>> as_inputs(np.array([[0, 255]], dtype=np.uint8), "x")
        tensor([[0., 1.]])
    """
    tensor = as_tensor(array, where)
    if tensor.dim() < 2:
        raise DataError(
            f"{where} has the shape {list(tensor.shape)}, expected [examples, ...]; "
            "one number an example is [examples, 1]"
        )
    missing = missing_memory(8 * tensor.numel())  # as float32, and once more when they are divided into splits
    if missing:
        raise DataError(f"{where}, of shape {list(tensor.shape)}, is too large: {missing}")
    values = tensor.float()
    if tensor.dtype is torch.uint8:
        values /= 255
    _check_finite(values, where)
    return values.contiguous()


def _check_finite(values: Tensor, where: str) -> None:
    bad = ~values.flatten(1).isfinite().all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise DataError(
            f"{where} holds NaN or infinite values (also: too large for float32) in {int(bad.sum())} of {len(bad)} "
            f"examples, the first is example {first}"
        )


def _values(y: Tensor, where: str) -> Tensor:
    """Values to be predicted, in their own units: float64 [examples, values]."""
    if y.dim() > 2:
        raise DataError(f"{where}: y has the shape {list(y.shape)}, expected [examples] or [examples, values]")
    values = y.double().reshape(len(y), -1)
    _check_finite(values.float(), f"{where}: y")
    return values


def _check_several(labels: Tensor, names: tuple[str, ...], where: str) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low == high:
        only = names[low] if names else low
        raise DataError(
            f"{where}: all labels to train on are {only}; there is nothing to tell apart, two classes are needed"
        )


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def divide(given: Mapping[str, Data], options: SplitOptions, where: str) -> dict[str, Data]:
    """All three splits: those given, the others drawn from "train" without an example in two of them.

    Which examples test depends on the seed and on how many test, and not on how many validate.

    Raises:
        DataError: there are too few examples, or a split would be empty.
    """
    examples = len(given["train"])
    parts = {split: getattr(options, split) for split in ("test", "validation") if split not in given}
    for split, part in parts.items():
        if part == 0:
            raise DataError(f"{where}: the split '{split}' would be empty; set task.{split} to a part such as 0.1")
    counts = {split: max(1, round(part * examples)) for split, part in parts.items()}
    if sum(counts.values()) >= examples:
        raise DataError(f"{where}: {examples} examples are too few to be divided into {', '.join(['train', *parts])}")
    order = np.random.default_rng(options.split_seed).permutation(examples)
    splits, first = dict(given), 0
    for split, count in counts.items():
        splits[split] = given["train"][torch.from_numpy(order[first : first + count])]
        first += count
    if examples < FEW_EXAMPLES:
        notice(
            f"{where}: {examples} examples are very few; {examples - first} of them train, "
            "and results of so few say little"
        )
    if first:
        splits["train"] = given["train"][torch.from_numpy(np.sort(order[first:]))]
    return splits
