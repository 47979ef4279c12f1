"""Early stopping: what the validations of a training say of its course, and when it ends early or warns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hyperframe.config.schema import Config
from hyperframe.errors import RunError, brief, notice
from hyperframe.metrics import Metric

IN_A_ROW = 3
"""Validations that must all be clearly worse than the best before anyone is warned."""
LOST = 0.1
"""Clearly worse is what has lost such a part of what the best had gained on the first validation, …"""
NOISE = 4
"""… and has moved away from the best by so many mean differences between two successive validations."""

PART = 0.25
"""The part of the steps that must lie behind the best validation: what swings before anything is learnt is not told."""


def _numbers(values: Sequence[float]) -> list[float]:
    return list(map(float, values))


@attrs.define
class Course:
    """The course of one metric over the validations: its best value, and how it went on from there.

    Values are scores, of which more is better. Those that are not finite are left out.

    Attributes:
        first: the first score.
        best: the best one, the earlier of equals.
        best_step: its step.
        moved: the sum of absolute differences between successive scores from the best one on.
        count: how many scores came after the best.
        recent: the last ones of these, the oldest first, up to `IN_A_ROW`.

    Example:
        >>> course = Course()
        >>> for step, score in enumerate([0.5, 0.9, 0.8, 0.85]):
        ...     course.add(step, score)
        >>> course.best, course.best_step, course.recent, round(course.moved, 2)
        (0.9, 1, [0.8, 0.85], 0.15)
    """

    first: float = attrs.field(default=-math.inf, converter=float)
    best: float = attrs.field(default=-math.inf, converter=float)
    best_step: int = attrs.field(default=0, converter=int)
    moved: float = attrs.field(default=0.0, converter=float)
    count: int = attrs.field(default=0, converter=int)
    recent: list[float] = attrs.field(factory=list, converter=_numbers)

    def add(self, step: int, score: float) -> None:
        """Take in the score of a validation."""
        if self.first == -math.inf:
            self.first = score
        if score > self.best:
            self.best, self.best_step = score, step
            self.moved, self.count, self.recent = 0.0, 0, []
            return
        self.moved += abs(score - (self.recent[-1] if self.recent else self.best))
        self.count += 1
        self.recent = [*self.recent, score][-IN_A_ROW:]

    @property
    def clearly_worse(self) -> bool:
        """Whether the last `IN_A_ROW` scores are all worse than the best by more than noise, see `LOST` and `NOISE`."""
        if len(self.recent) < IN_A_ROW:
            return False
        worse = max(LOST * (self.best - self.first), NOISE * self.moved / self.count)
        return self.best - max(self.recent) > worse


class Validations:
    """All validations of a training so far.

    Args:
        metrics: those that the task declares. The one that selects says which validation is the best.
        steps: of the whole training.

    Attributes:
        since_best: how many validations in a row had no new best; one whose networks diverged has none either.
    """

    def __init__(self, metrics: Sequence[Metric], steps: int) -> None:
        # The one that selects comes first: where several have got worse, it is the one that is told.
        metrics = sorted(metrics, key=lambda metric: not metric.selects)
        self._metrics = {metric.name: metric for metric in metrics if metric.of == "network" and metric.better}
        self._selects = metrics[0]
        self._courses = {name: Course() for name in self._metrics}
        self._least = PART * steps
        self._warned = False
        self.since_best = 0

    def add(self, step: int, results: Mapping[str, Any] | None) -> str | None:
        """Take in the results of a validation, None where networks diverged; return a warning, once a training."""
        self.since_best += 1
        for name, metric in self._metrics.items():
            value = None if results is None else metric.value(results)
            if value is not None and math.isfinite(value):
                self._courses[name].add(step, value * self._sign(metric))
        if self._best_step == step:
            self.since_best = 0
        if results is None or self._warned:
            return None
        long = {name: course for name, course in self._courses.items() if step - course.best_step >= self._least}
        worse = next((self._metrics[name] for name, course in long.items() if course.clearly_worse), None)
        self._warned = worse is not None
        return None if worse is None else self._warning(step, worse)

    @property
    def _best_step(self) -> int | None:
        course = self._courses[self._selects.name]
        return None if course.best == -math.inf else course.best_step

    @staticmethod
    def _sign(metric: Metric) -> int:
        return 1 if metric.better == "greater" else -1

    def _warning(self, step: int, metric: Metric) -> str:
        course, sign, selects = self._courses[metric.name], self._sign(metric), self._selects.label
        told = (
            f"validations have become worse: {metric.words('{}')} was {metric.shown(sign * course.best)} at step "
            f"{course.best_step} and is {metric.shown(sign * course.recent[-1])} at step {step}. "
        )
        if metric is self._selects:
            return told + (
                "The best checkpoint is kept: --checkpoint best takes it, in Python hf.load(RUN, checkpoint='best'). "
                "trainer.patience=N ends a training after N validations without a new best"
            )
        return told + (
            f"The best checkpoint, by {selects}, is that of step {self._best_step}. Fewer trainer.steps, a prior or "
            "more data keep networks from becoming too sure of what they have seen"
        )

    def plain(self) -> dict[str, Any]:
        """Return plain data that a checkpoint keeps, from which `restore` goes on."""
        seen = {name: attrs.asdict(course) for name, course in self._courses.items() if course.best > -math.inf}
        return {
            "since_best": self.since_best,
            "best_step": self._best_step,
            "warned": self._warned,
            "courses": seen,
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `plain` gave.

        Raises:
            RunError: it is something else.
        """
        try:
            self.since_best, self._warned = int(kept["since_best"]), bool(kept["warned"])
            for name in self._courses:
                self._courses[name] = Course(**kept["courses"].get(name, {}))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"the checkpoint does not say how validations went: {brief(error)}") from error


def tell_idle_patience(config: Config) -> None:
    """Say so where `trainer.patience` is longer than a training has validations, and can end nothing."""
    patience, every, steps = config.trainer.patience, config.evaluation.every, config.trainer.steps
    before_last = (steps - 1) // every
    if patience is not None and patience >= before_last:
        notice(
            f"trainer.patience={patience} ends nothing: {before_last} validations come before the last of {steps} "
            f"steps, one every evaluation.every={every}, and the first has nothing to be compared with"
        )
