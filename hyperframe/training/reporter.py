"""Who is told how a training goes on."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from hyperframe.errors import ConfigError, Forgiven, described, notice
from hyperframe.runs.run import Run


class Reporter:
    """Is told how training goes on, and says nothing; the base class of those who do.

    `hf.train(…, reporter=…)` and `hf.resume` take one, and plugins return some from `hyperframe_reporters`. All methods
    are called in the main process, between two steps. What one that was handed over raises ends the training. A
    subclass defines those that it needs; the others do nothing.

    Example:
        >>> class Scores(Reporter):
        ...     def logged(self, step, metrics):
        ...         print(step, metrics["score"])
        >>> Scores().logged(10, {"score": 0.5})
        10 0.5
        >>> Scores().paused(None, "it was asked for")
    """

    def started(self, run: Run) -> None:
        """Hear that the run folder is there and training begins, or goes on from `run.step`."""

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hear the means of the steps since the last time, every `trainer.log_every` steps and at the last one.

        Args:
            step: how many steps are done.
            metrics: `loss` and its parts; `score`, the mean of `Task.score`, which `Task.score_metric` describes;
                `diversity.NAME` of each term; `penalty` where the generator has one; `gradient_norm`, `rate`,
                `steps_per_second` and `cpu_seconds_per_step`, of all threads and processes.
        """

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Hear the results on validation data, every `evaluation.every` steps and at the last one.

        Args:
            step: how many steps are done.
            results: `networks` and `examples`, how many there were; what the task's meter found; `metrics`, for each
                figure the fields of its `Metric`; `entropy` of the weights in nats, or None.
        """

    def worsened(self, run: Run, reason: str) -> None:
        """Hear, once, that validations have become clearly worse than the best one, by how much, and what helps."""

    def paused(self, run: Run, reason: str) -> None:
        """Hear that training has stopped before its last step, and why; all is saved."""

    def finished(self, run: Run) -> None:
        """Hear that the last step is done, or that training ends early, where `run.ended` says why; all is saved."""

    def failed(self, run: Run, reason: str) -> None:
        """Hear that training cannot go on, and why; the last checkpoint is as it was."""


class Warner(Reporter):
    """Says nothing but warnings; the one who hears where none is handed over."""

    def worsened(self, run: Run, reason: str) -> None:
        """Warn."""
        notice(f"{run.folder}: {reason}")


EVENTS = ("started", "logged", "validated", "worsened", "paused", "finished", "failed")


class Observers:
    """All who hear how a run's training goes.

    Args:
        own: the one that was handed over; what it raises is raised.

    Raises:
        ConfigError: it lacks a method.
    """

    def __init__(self, own: Reporter) -> None:
        lacking = [event for event in EVENTS if not callable(getattr(own, event, None))]
        if lacking:
            raise ConfigError(
                f"reporter: {type(own).__name__} has no method {' and none '.join(lacking)}; make it a subclass of "
                "hyperframe.Reporter, which has all of them"
            )
        _tell_deaf(own)
        self._own = own
        self._others: list[tuple[str, Reporter]] = []

    def join(self, others: Iterable[tuple[str, Reporter]]) -> None:
        """Let those of plugins hear it too, with distributions; one that raises is named, and hears no more."""
        for other in others:
            _tell_deaf(other[1])
            self._others.append(other)

    def tell(self, event: str, *arguments: Any) -> None:
        """Call the method of this name of all of them."""
        getattr(self._own, event)(*arguments)
        for other in list(self._others):
            # Whoever only looks on must not end a training that takes hours.
            with Forgiven(partial(self._without, other)):
                reporter = other[1]
                getattr(reporter, event)(*arguments)

    def _without(self, other: tuple[str, Reporter], error: BaseException) -> None:
        self._others.remove(other)
        notice(f"{other[0]} does not observe the training any more, since its reporter failed: {described(error)}")


def _tell_deaf(reporter: Reporter) -> None:
    """Say that one who defines no method which is called hears nothing, as where a name is misspelt."""
    kind = type(reporter)
    own = [name for name in vars(kind) if not name.startswith("_")]
    heard = any(getattr(kind, event, None) is not vars(Reporter)[event] for event in EVENTS)
    if kind is not Reporter and own and not heard:
        notice(
            f"reporter {kind.__name__} hears nothing: of its {', '.join(own)} none is called; the methods that are: "
            f"{', '.join(EVENTS)}"
        )
