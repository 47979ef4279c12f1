"""Tasks of a user's own arrays, and the facts of them that a run keeps, so that it can do without the data."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import attrs
import torch

from hyperframe.errors import ConfigError, DataError, unknown_name
from hyperframe.options import option, plain_options, read_options
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.tasks.own_data.kinds import Kind
from hyperframe.tasks.regression import RegressionTask
from hyperframe.tasks.standardisation import Standardisation
from hyperframe.tasks.structured.dense_classification import DenseClassificationTask
from hyperframe.tasks.structured.heads import Head, HeadsTask
from hyperframe.tasks.structured.multi_label import MultiLabelTask
from hyperframe.types import Data, Task

SPLITS = ("train", "validation", "test")
HEAD, WEIGHT = "head", "weight"
"""Keys of a head's name and weight among its facts."""
MOMENTS = ("input_mean", "input_std", "label_mean", "label_std")
"""Facts that other data of the same task have others of; a run keeps those that it was trained with."""


@attrs.frozen(kw_only=True)
class OwnFacts:
    """Facts of the task that own data say, and that a run keeps."""

    kind: Kind = option()
    input_shape: tuple[int, ...] = option(minimum=1)
    num_outputs: int = option(minimum=1)
    output_places: tuple[int, ...] = option((), "axes of places, each with labels of its own", minimum=1)
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
    def label_shape(self) -> tuple[int, ...]:
        """The shape of one example's label."""
        one_label = {"classification": (), "dense_classification": self.output_places}
        return one_label.get(self.kind, (self.num_outputs,))

    @property
    def inputs(self) -> Standardisation | None:
        """The standardisation of inputs, if any."""
        return Standardisation.read(self.input_mean, self.input_std, self.input_shape)

    @property
    def labels(self) -> Standardisation | None:
        """The standardisation of labels, if any."""
        return Standardisation.read(self.label_mean, self.label_std, [self.num_outputs])


class _OfOwnData(Task):
    """The part that all kinds of tasks share.

    Args:
        name: the task's name.
        facts: what the data say of it.
        splits: gives the data of each split; called when one is first asked for.
    """

    def __init__(self, name: str, facts: OwnFacts, splits: Callable[[], Mapping[str, Data]]) -> None:
        self.name = name
        self.input_shape, self.num_outputs = facts.input_shape, facts.num_outputs
        self.output_places, self.classes = facts.output_places, facts.classes
        self.pixels = facts.pixels
        self.standardised_inputs = facts.inputs
        self.facts: Mapping[str, Any] = plain_options(facts)
        self.splits = splits

    def data(self, split: str) -> Data:
        """The split; labels that are values are float64 [examples, values]."""
        return chosen_split(self.splits(), split)


class OwnClassification(_OfOwnData, ClassificationTask):
    """Classification of own data."""


class OwnRegression(_OfOwnData, RegressionTask):
    """Regression on own data: labels in their own units, outputs of labels standardised by the training's moments."""

    def __init__(self, name: str, facts: OwnFacts, splits: Callable[[], Mapping[str, Data]]) -> None:
        super().__init__(name, facts, splits)
        self.standardised_labels = facts.labels


class OwnDense(_OfOwnData, DenseClassificationTask):
    """A class for each place of own data."""


class OwnMultiLabel(_OfOwnData, MultiLabelTask):
    """Several labels for each example of own data, each of which is there or not."""


OwnSingle = OwnClassification | OwnRegression | OwnDense | OwnMultiLabel


def task_of(name: str, facts: OwnFacts, splits: Callable[[], Mapping[str, Data]]) -> OwnSingle:
    """The task that facts are of, with labels of one kind."""
    kinds: dict[str, type[OwnSingle]] = {
        "classification": OwnClassification,
        "dense_classification": OwnDense,
        "multi_label": OwnMultiLabel,
        "regression": OwnRegression,
    }
    return kinds[facts.kind](name, facts, splits)


class OwnHeads(HeadsTask):
    """Labels by name, of own data, with a head of the network for each.

    Args:
        name: the task's name.
        heads: for each head what the data say of it.
        weights: what each head's loss counts, in their order.
        splits: gives the data of each split; called when one is first asked for.
    """

    def __init__(
        self,
        name: str,
        heads: Mapping[str, OwnFacts],
        weights: Sequence[float],
        splits: Callable[[], Mapping[str, Data]],
    ) -> None:
        made = {}
        for (head, facts), weight in zip(heads.items(), weights, strict=True):
            task, dtype = task_of(head, facts, splits), torch.float64 if facts.kind == "regression" else torch.int64
            made[head] = Head(task=task, label_shape=facts.label_shape, label_dtype=dtype, weight=weight)
        super().__init__(made)
        first = next(iter(heads.values()))
        self.name, self.splits = name, splits
        self.input_shape, self.pixels, self.standardised_inputs = first.input_shape, first.pixels, first.inputs
        self.facts: Mapping[str, Any] = {
            "heads": [{HEAD: head, WEIGHT: made[head].weight, **plain_options(facts)} for head, facts in heads.items()]
        }

    def data(self, split: str) -> Data:
        """The split; labels are those of all heads, float64 [examples, entries]."""
        return chosen_split(self.splits(), split)


OwnTask = OwnSingle | OwnHeads


def restore_task(name: str, facts: Mapping[str, Any], make: Callable[[Sequence[str]], OwnTask]) -> OwnTask:
    """The task of own data as a run keeps it; the data are read when a split is first asked for.

    Args:
        name: the task's name.
        facts: what `OwnTask.facts` was.
        make: reads the data, and makes the task of them with its heads in the order of these names, see `own_task`.

    Raises:
        ConfigError: the facts are damaged.
        DataError: of `data`, where they are not there, or say something else.
    """

    @cache
    def splits() -> Mapping[str, Data]:
        made = make([one[HEAD] for one in restored.facts.get("heads", ())])
        check_facts(name, _without_moments(made.facts), _without_moments(restored.facts))
        return made.splits()

    restored = _restored(name, facts, splits)
    return restored


def _restored(name: str, facts: Mapping[str, Any], splits: Callable[[], Mapping[str, Data]]) -> OwnTask:
    if "heads" not in facts:
        return task_of(name, read_options(OwnFacts, facts, "task"), splits)
    try:
        heads = {str(own[HEAD]): {**own} for own in facts["heads"]}
        weights = [float(own.pop(WEIGHT)) for own in heads.values()]
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"task.heads: expected facts of each head, but got {facts['heads']!r}") from error
    read = {
        head: read_options(OwnFacts, {key: value for key, value in own.items() if key != HEAD}, f"task.heads.{head}")
        for head, own in heads.items()
    }
    return OwnHeads(name, read, weights, splits)


def _without_moments(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that other data of the same task have as well."""
    kept = {key: value for key, value in facts.items() if key not in MOMENTS}
    return {**kept, "heads": [_without_moments(own) for own in kept["heads"]]} if "heads" in kept else kept


def check_facts(name: str, found: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Raise `DataError` where data say something else of their task than what a run keeps; heads may have any order."""
    before = _before(name)
    own, wanted = ({one[HEAD]: one for one in facts.get("heads", ())} for facts in (found, kept))
    check_heads(name, list(own), list(wanted))
    pairs = [(f"head '{head}': ", own[head], facts) for head, facts in wanted.items()] or [("", found, kept)]
    for where, here, facts in pairs:
        for key, value in facts.items():
            if here.get(key) != value:
                raise DataError(f"{before}{where}{key} is {here.get(key)}, was {value}")


def check_heads(name: str, found: Sequence[str], kept: Sequence[str]) -> None:
    """Raise `DataError` where labels are of other heads than what a run keeps; they may have any order."""
    if set(found) != set(kept):
        told = [f"heads {', '.join(heads)}" if heads else "no heads" for heads in (found, kept)]
        raise DataError(f"{_before(name)}labels are of {told[0]}, were of {told[1]}")


def _before(name: str) -> str:
    return f"task '{name}': the data are not those that the run was trained on: "


def chosen_split(splits: Mapping[str, Data], split: str) -> Data:
    """A split by its name; raises `ValueError` for one that there is not."""
    if split not in splits:
        raise ValueError(unknown_name("split", split, SPLITS))
    return splits[split]
