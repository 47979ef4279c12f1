"""Examples that validate, and the task of an estimator's arrays."""

import copy
from collections.abc import Mapping

import attrs
import numpy as np
import torch

from hyperframe.component import Component
from hyperframe.config.in_memory import DATA, HANDED_OVER
from hyperframe.errors import DataError
from hyperframe.hookspecs import hookimpl
from hyperframe.tasks.own_data.arrays import OwnOptions, own_task
from hyperframe.tasks.own_data.facts import OwnTask
from hyperframe.types import Data, Task


@attrs.frozen(kw_only=True, eq=False)
class Examples:
    """Arrays to learn from.

    Attributes:
        x: inputs [examples, ...].
        y: numbers of classes, int64 [examples], or values, float64 [examples, values].
        weights: what each counts, [examples]; None: 1.
        classes: how many classes there are; None for values.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.x)

    def some(self, rows: np.ndarray) -> "Examples":
        """Those with these numbers."""
        weights = None if self.weights is None else self.weights[rows]
        return attrs.evolve(self, x=self.x[rows], y=self.y[rows], weights=weights)

    def with_channel(self) -> "Examples":
        """The same images [examples, height, width], with an axis for their one channel."""
        return attrs.evolve(self, x=self.x[:, None])


def divide(examples: Examples, part: float, rng: np.random.RandomState) -> tuple[Examples, Examples]:
    """Divide at random into examples that train and a part that validates, of each class about the same part.

    At least one example of each class trains.

    Example:
        >>> labels = np.array([0] * 80 + [1] * 20)
        >>> train, validation = divide(Examples(x=labels, y=labels, classes=2), 0.1, np.random.RandomState(0))
        >>> np.bincount(train.y).tolist(), np.bincount(validation.y).tolist()
        ([72, 18], [8, 2])
    """
    order = rng.permutation(len(examples))
    if examples.classes is not None:
        order = order[np.argsort(examples.y[order], kind="stable")]
        firsts = np.unique(examples.y[order], return_index=True)[1]
        if len(firsts) < len(order):
            order = np.delete(order, firsts)
    count = min(max(1, round(part * len(examples))), len(order), len(examples) - 2)
    validating = np.zeros(len(examples), dtype=bool)
    validating[order[((np.arange(count) + 0.5) * len(order) / count).astype(int)]] = True
    return examples.some(~validating), examples.some(validating)


def make_task(train: Examples, validation: Examples) -> OwnTask:
    """Make the task of these examples; its test split is that which validates, and nobody looks at it.

    Of classes, the mean negative log-likelihood of a network says which checkpoint is the best: of few examples nearly
    all checkpoints have the same number right.

    Raises:
        DataError: the arrays are no numbers, or cannot be learnt from.
    """
    arrays = {"x": train.x, "y": train.y}
    for split in ("validation", "test"):
        arrays |= {f"x_{split}": validation.x, f"y_{split}": validation.y}
    of_values = train.classes is None
    options = OwnOptions(kind="regression" if of_values else "classification", classes=train.classes)
    task = own_task(DATA, arrays, options)
    if train.classes is not None:
        task.metrics = [
            attrs.evolve(metric, selects=metric.of == "network" and metric.name == "nll") for metric in task.metrics
        ]
    if train.weights is not None:
        task.example_weights = torch.from_numpy(train.weights / train.weights.mean()).float()
    return task


class HandedOver:
    """A plugin that registers a task as data that were handed over, whose runs can be read again without them."""

    __name__ = HANDED_OVER

    def __init__(self, task: OwnTask) -> None:
        self._task = task

    @hookimpl
    def hyperframe_tasks(self) -> list[Component]:
        """Register the task."""
        summary = "examples that were handed to an estimator"
        return [Component(name=DATA, factory=lambda options: self._task, options=OwnOptions, summary=summary)]


def without_examples(task: Task) -> Task:
    """A copy of a task that holds none of its examples, and can be pickled; what it standardises is on the CPU."""
    bare = copy.copy(task)
    for name in ("standardised_inputs", "standardised_labels"):
        known = getattr(task, name)
        setattr(bare, name, None if known is None else attrs.evolve(known))  # without what was moved to a device
    bare.example_weights = None
    bare.splits = _forgotten  # type: ignore[attr-defined]
    return bare


def _forgotten() -> Mapping[str, Data]:
    raise DataError("an estimator keeps none of the examples that it was fitted to")
