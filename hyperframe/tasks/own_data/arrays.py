"""A user's own arrays: checked, divided into splits, and made a task of classes or values."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from hyperframe.errors import DataError, notice
from hyperframe.options import option
from hyperframe.tasks.own_data.channels import channels_first
from hyperframe.tasks.own_data.facts import OwnFacts, OwnHeads, OwnTask, check_heads, task_of
from hyperframe.tasks.own_data.kinds import AnyKind, Said, check_number, said_of
from hyperframe.tasks.own_data.labels import Labels, check_several, read_labels
from hyperframe.tasks.own_data.tensors import as_inputs
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Data, Layout

FEW_EXAMPLES = 10
"""Below so many examples to be divided, a notice says that they are few."""
ARRAYS = ("x", "y", "x_validation", "y_validation", "x_test", "y_test")
"""The names of arrays that make a task."""


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

    kind: AnyKind | tuple[AnyKind, ...] = option(
        "auto",
        "auto: whole numbers and texts are classes, of each place where labels have two axes and more beside the "
        "examples'; other numbers are values; multi_label: 0 or 1 for each of several labels; a list has a kind for "
        "each head, where labels are of several heads",
    )
    classes: int | tuple[int | None, ...] | None = option(
        None, "number of classes, 0, 1, …; null: the labels that occur; a list has one for each head", minimum=2
    )
    head_weights: tuple[float, ...] = option(
        (), "what the loss of each head counts, where labels are of several heads; empty: 1 each", above=0
    )
    standardise: bool = option(
        True, "inputs of a table, [features], are shifted and scaled to mean 0 and deviation 1 of the training examples"
    )


def own_task(name: str, arrays: Mapping[str, Any], options: OwnOptions, heads: Sequence[str] = ()) -> OwnTask:
    """Make a task of arrays.

    Args:
        name: the task's name.
        arrays: `x` [examples, ...] and `y` [examples], [examples, values] or [examples, *places], tensors or numpy
            arrays; classes can be texts. `y` can be a mapping of such labels, for a network with a head for each. Where
            there are also `x_test` and `y_test`, or `x_validation` and `y_validation`, they are those splits; the
            others are drawn from `x` and `y`.
        options: how they are divided and what `y` means.
        heads: the order of the heads of a run whose data these are, in which `options` say something of each; none
            where these are no data of a run, and the order is that of `y`.

    Raises:
        DataError: something in them is missing, has another type, shape or number than it should, is not finite, or
            cannot be learnt from.

    Example:
        >>> x, y = torch.rand(50, 3), torch.arange(50) % 4
        >>> task = own_task("mine", {"x": x, "y": y}, OwnOptions())
        >>> task.num_outputs, len(task.data("train")), len(task.data("test"))
        (4, 40, 5)
        >>> own_task("mine", {"x": x, "y": {"kind": y, "size": x.sum(1)}}, OwnOptions()).layout.shapes
        {'kind': (4,), 'size': (1,)}
    """
    where = f"task '{name}'"
    given = {"train": _pair(arrays, "x", "y", where)}
    for split in ("validation", "test"):
        if f"x_{split}" in arrays or f"y_{split}" in arrays:
            given[split] = _pair(arrays, f"x_{split}", f"y_{split}", where)
    inputs = {split: x for split, (x, _) in given.items()}
    shape = inputs["train"].shape[1:]
    for split, x in inputs.items():
        if x.shape[1:] != shape:
            raise DataError(
                f"{where}: x_{split} has examples of shape {list(x.shape[1:])}, but those of x, which are trained "
                f"on, have {list(shape)}; they must be alike"
            )
    pixels = _are_pixels(arrays, inputs, where)

    def read(labels: Mapping[str, Any], said: Said, where: str, *, partly: bool = False) -> Labels:
        return read_labels(labels, {split: len(x) for split, x in inputs.items()}, said, where, partly=partly)

    def facts(labels: Labels, own: Tensor, where: str) -> OwnFacts:
        check_several(own, labels, where)
        return OwnFacts(
            kind=labels.kind,
            input_shape=tuple(shape),
            num_outputs=labels.outputs,
            output_places=labels.places,
            classes=labels.names,
            pixels=pixels,
            **moments,
            **(_moments("label", Standardisation.of(own)) if labels.kind == "regression" else {}),
        )

    by_head = _by_head({split: y for split, (_, y) in given.items()}, where)
    if heads:
        check_heads(name, list(by_head), heads)
        by_head = {head: by_head[head] for head in heads}
    said = said_of(options.kind, options.classes, list(by_head), where)
    if options.head_weights:
        check_number("task.head_weights", "number", options.head_weights, list(by_head), where)
    if not by_head:
        found = read({split: y for split, (_, y) in given.items()}, said[0], where)
        splits = divide({split: Data(inputs[split], y) for split, y in found.of_splits.items()}, options, where)
        moments = _input_moments(splits["train"].x, options, where)
        return task_of(name, facts(found, splits["train"].y, where), lambda: splits)
    several = {
        head: read(labels, own, f"{where}, head '{head}'", partly=True)
        for (head, labels), own in zip(by_head.items(), said, strict=True)
    }
    layout = Layout({head: labels.of_splits["train"].shape[1:] for head, labels in several.items()})
    packed = {
        split: layout.pack({head: labels.of_splits[split].double() for head, labels in several.items()})
        for split in inputs
    }
    splits = divide({split: Data(inputs[split], y) for split, y in packed.items()}, options, where)
    moments = _input_moments(splits["train"].x, options, where)
    parts = layout.split(splits["train"].y)
    of_heads = {head: facts(labels, parts[head], f"{where}, head '{head}'") for head, labels in several.items()}
    weights = options.head_weights or (1.0,) * len(of_heads)
    return OwnHeads(name, of_heads, weights, lambda: splits)


def _by_head(labels: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """Labels of each head, for each split; empty where labels are no mappings.

    Raises:
        DataError: some of them are, or have other heads; or heads are not called by texts.
    """
    heads = list(labels["train"]) if isinstance(labels["train"], Mapping) else []
    for split, own in labels.items():
        name = "y" if split == "train" else f"y_{split}"
        odd = [head for head in own if not isinstance(head, str) or not head] if isinstance(own, Mapping) else []
        if odd or (isinstance(own, Mapping) and not own):
            found = f"one is called {odd[0]!r}" if odd else "there is none"
            raise DataError(f"{where}: {name} must have labels by the names of heads, which are texts, but {found}")
        if sorted(own if isinstance(own, Mapping) else []) != sorted(heads):
            raise DataError(f"{where}: {name} must have labels of the heads of y, {', '.join(heads) or 'none'}")
    return {head: {split: own[head] for split, own in labels.items()} for head in heads}


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


def _are_pixels(arrays: Mapping[str, Any], inputs: Mapping[str, Tensor], where: str) -> bool:
    """Whether inputs are bytes; raises `DataError` where those of one split are, and of another are not."""
    names = ["x" if split == "train" else f"x_{split}" for split in inputs]
    types = {name: str(arrays[name].dtype).removeprefix("torch.") for name in names}
    if "uint8" in types.values() and len(set(types.values())) > 1:
        listed = ", ".join(f"{name} is {kind}" for name, kind in types.items())
        raise DataError(f"{where}: {listed}; bytes are divided by 255 and others are not: give all the same type")
    return "uint8" in types.values()


def _pair(arrays: Mapping[str, Any], x: str, y: str, where: str) -> tuple[Tensor, Any]:
    for name, what in ((x, f"the inputs of '{y}'"), (y, f"the labels of '{x}'")):
        if name not in arrays:
            found = ", ".join(sorted(map(str, arrays)))
            raise DataError(f"{where}: there is no array '{name}', {what}; found: {found or 'none'}")
    return channels_first(as_inputs(arrays[x], f"{where}: {x}"), f"{where}: {x}"), arrays[y]


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
