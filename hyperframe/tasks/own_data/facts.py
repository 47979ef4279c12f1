"""Tasks of a user's own arrays, and the facts of them that a run keeps, so that it can do without the data."""

from collections.abc import Callable, Mapping
from functools import cache
from math import prod
from typing import Any, Literal

import attrs

from hyperframe.errors import DataError, unknown_name
from hyperframe.options import option, plain_options, read_options
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.tasks.regression import RegressionTask
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.types import Data, Task

SPLITS = ("train", "validation", "test")
MOMENTS = ("input_mean", "input_std", "label_mean", "label_std")
"""Facts that other data of the same task have others of; a run keeps those that it was trained with."""


@attrs.frozen(kw_only=True)
class OwnFacts:
    """Facts of the task that own data say, and that a run keeps."""

    kind: Literal["classification", "regression"] = option()
    input_shape: tuple[int, ...] = option(minimum=1)
    num_outputs: int = option(minimum=1)
    classes: tuple[str, ...] = option((), "names of the classes; none where they are called by their numbers")
    pixels: bool = option(False, "whether inputs were bytes, which are taken for pixels and divided by 255")
    input_mean: tuple[float, ...] = option((), "means of the training inputs; none where these stay as they are")
    input_std: tuple[float, ...] = option((), "their standard deviations", above=0)
    label_mean: tuple[float, ...] = option((), "means of the training labels that are values")
    label_std: tuple[float, ...] = option((), "their standard deviations", above=0)

    def __attrs_post_init__(self) -> None:
        if self.classes and len(self.classes) != self.num_outputs:
            raise ValueError(f"there are {len(self.classes)} names of classes for {self.num_outputs} outputs")
        sizes = {"input": (0, prod(self.input_shape)), "label": (self.num_outputs * (self.kind == "regression"),)}
        for of, known in sizes.items():
            mean, std = getattr(self, f"{of}_mean"), getattr(self, f"{of}_std")
            if len(mean) not in known or len(std) != len(mean):
                wanted = " or ".join(map(str, known))
                raise ValueError(f"expected {wanted} means and deviations of {of}s, got {len(mean)} and {len(std)}")

    @property
    def inputs(self) -> Standardisation | None:
        """The standardisation of inputs, if any."""
        return Standardisation.read(self.input_mean, self.input_std, self.input_shape)

    @property
    def labels(self) -> Standardisation | None:
        """The standardisation of labels, if any."""
        return Standardisation.read(self.label_mean, self.label_std, [self.num_outputs])


class _OfOwnData(Task):
    """The part that both kinds of tasks share.

    Args:
        name: the task's name.
        facts: what the data say of it.
        splits: gives the data of each split; called when one is first asked for.
    """

    def __init__(self, name: str, facts: OwnFacts, splits: Callable[[], Mapping[str, Data]]) -> None:
        self.name = name
        self.input_shape, self.num_outputs = facts.input_shape, facts.num_outputs
        self.pixels = facts.pixels
        self.standardised_inputs = facts.inputs
        self.facts: Mapping[str, Any] = plain_options(facts)
        self.splits = splits

    def data(self, split: str) -> Data:
        """The split; labels that are values are float64 [examples, values]."""
        return chosen_split(self.splits(), split)


class OwnClassification(_OfOwnData, ClassificationTask):
    """Classification of own data."""

    def __init__(self, name: str, facts: OwnFacts, splits: Callable[[], Mapping[str, Data]]) -> None:
        super().__init__(name, facts, splits)
        self.classes = facts.classes


class OwnRegression(_OfOwnData, RegressionTask):
    """Regression on own data: labels in their own units, outputs of labels standardised by the training's moments."""

    def __init__(self, name: str, facts: OwnFacts, splits: Callable[[], Mapping[str, Data]]) -> None:
        super().__init__(name, facts, splits)
        self.standardised_labels = facts.labels


OwnTask = OwnClassification | OwnRegression


def restore_task(name: str, facts: Mapping[str, Any], make: Callable[[], OwnTask]) -> OwnTask:
    """The task of own data as a run keeps it; the data are read when a split is first asked for.

    Args:
        name: the task's name.
        facts: what `OwnTask.facts` was.
        make: reads the data, and makes the task of them.

    Raises:
        ConfigError: the facts are damaged.
        DataError: of `data`, where they are not there, or say something else.
    """

    @cache
    def splits() -> Mapping[str, Data]:
        made = make()
        kept = {key: value for key, value in restored.facts.items() if key not in MOMENTS}
        check_facts(name, made.facts, kept)
        return made.splits()

    read = read_options(OwnFacts, facts, "task")
    restored = (OwnClassification if read.kind == "classification" else OwnRegression)(name, read, splits)
    return restored


def check_facts(name: str, found: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Raise `DataError` where data say something else of their task than what a run keeps."""
    for key, value in kept.items():
        if found[key] != value:
            raise DataError(
                f"task '{name}': the data are not those that the run was trained on: {key} is {found[key]}, was {value}"
            )


def chosen_split(splits: Mapping[str, Data], split: str) -> Data:
    """A split by its name; raises `ValueError` for one that there is not."""
    if split not in splits:
        raise ValueError(unknown_name("split", split, SPLITS))
    return splits[split]
