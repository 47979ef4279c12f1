"""Conformal prediction by drawn networks: calibrated on labelled examples, then asked for sets or intervals."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.errors import DataError, notice, unknown_name
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import stream
from hyperframe.tasks.conformal import (
    SCORES,
    aps_scores,
    fewest_examples,
    intervals,
    lac_scores,
    of_labels,
    residual_scores,
    threshold_of,
)
from hyperframe.tasks.own_data.tensors import as_tensor
from hyperframe.types import Task

RESIDUAL = "residual"
"""The score of values."""

Summarise = Callable[[Any], Mapping[str, Tensor]]


@attrs.frozen(kw_only=True, eq=False)
class Conformal:
    """Networks with a threshold: predicts sets of classes, or intervals of values, see `hyperframe.tasks.conformal`.

    Attributes:
        alpha: how often a label may be outside.
        method: the score, "lac", "aps" or "residual".
        threshold: labels whose score is not above it are predicted: float64 [], or [values]; infinite where the
            calibration examples are too few for α.
        examples: how many calibration examples there were.
        summarise: gives what the networks say of inputs together, as `Networks.summary` does.
        scaled: whether intervals are as wide as the networks are unsure, and not all of one width.
        seed: of the random parts of "aps".
    """

    alpha: float
    method: str
    threshold: Tensor
    examples: int
    summarise: Summarise = attrs.field(repr=False)
    scaled: bool = False
    seed: int = 0

    def predict(self, x: Any) -> Tensor:
        """Classes that may be the label's, bool [examples, classes], or the ends of intervals [examples, values, 2].

        Args:
            x: inputs [examples, *input_shape], as `Networks.predict` takes them. The random part of "aps" belongs to an
                example's place among them: the same inputs in the same order give the same sets.
        """
        return self.of_summary(self.summarise(x))

    def of_summary(self, found: Mapping[str, Tensor]) -> Tensor:
        """The same where it is known what `summarise` gives for the inputs."""
        if self.method == RESIDUAL:
            return intervals(*_centres(found, self.scaled), self.threshold)
        return _scores(found["probabilities"], self.method, self.seed, "new examples") <= self.threshold


def calibrate(
    summarise: Summarise,
    task: Task,
    x: Any,
    y: Any,
    alpha: float,
    *,
    method: str | None = None,
    seed: int = 0,
    networks: int,
) -> Conformal:
    """Find the threshold on calibration examples, which are not those of the training.

    A new example's label is among what is then predicted with a probability of at least 1 − alpha. That is of all
    examples together, and not of each class or each kind of input; and not where anything was chosen by the calibration
    examples, such as a checkpoint. What is said of many examples on the same calibration is not independent.

    Args:
        summarise: gives what the networks say of inputs together, as `Networks.summary` does.
        task: what that means.
        x: inputs of the calibration examples, such as those of the split "validation".
        y: their labels: numbers of classes [examples], or values [examples, values] in their own units.
        alpha: how often a label may be outside; of several values each has intervals of its own.
        method: of classes "lac" (the default), whose sets are the smallest on average, or "aps", which evens out how
            often they are right for easy and difficult inputs. Intervals of values are as wide as the networks are
            unsure (`predictive_std`, or else `std`); those of one network alone have one width.
        seed: of the random parts of "aps".
        networks: how many there are.

    Raises:
        DataError: there is not one label for each input, a label is none of the task's, or the task has several answers
            for an example.
        ValueError: alpha is not between 0 and 1, or there is no such method.
    """
    if task.layout is not None:
        raise DataError(
            f"task '{task.name}': sets and intervals are of one answer for each example, and it has several heads, "
            f"{', '.join(task.layout.shapes)}; calibrate one of them: hyperframe.networks.conformal.calibrate takes "
            "what Networks.summary gives for the head, and the head's task"
        )
    found = summarise(x)
    classifies = "probabilities" in found
    known = SCORES if classifies else (RESIDUAL,)
    if classifies and found.get("vote", found["probabilities"][:, 0]).dim() != 1:
        raise DataError(f"task '{task.name}': a set is of one answer for each example, and its examples have several")
    if not classifies and not {"mean", "std"} <= found.keys():
        raise DataError(f"task '{task.name}' has neither probabilities of classes nor values, which a set could be of")
    method = known[0] if method is None else method
    if method not in known:
        raise ValueError(unknown_name("method", method, known))
    labels = _labels(task, y, next(iter(found.values())))
    scaled = not classifies and (networks > 1 or "predictive_std" in found)
    if classifies:
        scores = of_labels(_scores(found["probabilities"], method, seed, "calibration"), labels)
    else:
        scores = residual_scores(*_centres(found, scaled), labels)
    threshold = threshold_of(scores, alpha)
    if len(scores) < fewest_examples(alpha):
        everything = "sets hold all classes" if classifies else "intervals have no ends"
        notice(
            f"{quantity(len(scores), 'calibration example')} cannot give alpha={alpha:g}, so that {everything}; "
            f"{fewest_examples(alpha)} or more are needed"
        )
    return Conformal(
        alpha=alpha,
        method=method,
        threshold=threshold,
        examples=len(scores),
        summarise=summarise,
        scaled=scaled,
        seed=seed,
    )


def _labels(task: Task, y: Any, beside: Tensor) -> Tensor:
    """Labels as the task has them, on the device of what networks say of their examples."""
    labels = as_tensor(y, "y")
    if task.shift_invariant and not labels.is_floating_point():
        labels = labels.long()
    elif not task.shift_invariant:
        labels = labels.double()
        labels = labels[:, None] if labels.dim() == 1 and task.num_outputs == 1 else labels
    task.check_labels(labels, "y")
    if len(labels) != len(beside):
        raise DataError(
            f"y: expected as many labels as inputs, but got {quantity(len(labels), 'label')} for "
            f"{quantity(len(beside), 'input')}"
        )
    return labels.to(beside.device)


def _scores(probabilities: Tensor, method: str, seed: int, of: str) -> Tensor:
    """Scores of all classes, float64 [examples, classes]."""
    probabilities = probabilities.double()
    if method == "lac":
        return lac_scores(probabilities)
    u = torch.rand(len(probabilities), generator=stream(seed, f"conformal {of}"), dtype=torch.float64)
    return aps_scores(probabilities, u.to(probabilities.device))


def _centres(found: Mapping[str, Tensor], scaled: bool) -> tuple[Tensor, Tensor]:
    """The middles of intervals, and what their widths are multiples of, float64 [examples, values] each."""
    mean = found["mean"].double()
    return mean, found.get("predictive_std", found["std"]).double() if scaled else torch.ones_like(mean)
