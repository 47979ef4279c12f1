"""Early stopping: what the validations of a training say of its course, and when it ends early or warns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hyperframe.config.schema import Config
from hyperframe.errors import RunError, brief, notice
from hyperframe.metrics import Course, Metric
from hyperframe.runtime.progress import quantity


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
        self._steps = steps
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
        worsened = (name for name, course in self._courses.items() if course.has_worsened(step, self._steps))
        worse = next((self._metrics[name] for name in worsened), None)
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
            f"trainer.patience={patience} ends nothing: before the last of {quantity(steps, 'step')} there is time for "
            f"{quantity(before_last, 'validation')}, one every evaluation.every={every}, and the first has nothing "
            "to be compared with"
        )
