"""Who is told how a training goes on."""

from collections.abc import Mapping
from typing import Any, Protocol

from hyperframe.runs.run import Run


class Reporter(Protocol):
    """Is told how training goes on: what `hf.train(…, reporter=…)` and `hf.resume` take.

    All four methods are called in the main process, between two steps; what one raises ends the training.
    """

    def started(self, run: Run) -> None:
        """Hear that the run folder is there and training begins, or goes on from `run.step`."""
        ...

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hear the means of the steps since the last time, every `trainer.log_every` steps and at the last one.

        Args:
            step: how many steps are done.
            metrics: `loss` and its parts; `score`, the mean of `Task.score`, which `Task.score_metric` describes;
                `diversity.NAME` of each term; `rate`, `steps_per_second` and
                `cpu_seconds_per_step`, of all threads and processes.
        """
        ...

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Hear the results on validation data, every `evaluation.every` steps and at the last one.

        Args:
            step: how many steps are done.
            results: `networks` and `examples`, how many there were; what the task's meter found; `metrics`, for each
                figure the fields of its `Metric`; `entropy` of the weights in nats, or None.
        """
        ...

    def paused(self, run: Run, reason: str) -> None:
        """Hear that training has stopped before its last step, and why; all is saved."""
        ...


class Silent:
    """A reporter that says nothing."""

    def started(self, run: Run) -> None:
        """Say nothing."""

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Say nothing."""

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Say nothing."""

    def paused(self, run: Run, reason: str) -> None:
        """Say nothing."""
