"""Progress on the command line: of a training, and of other long work."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from hyperframe.errors import notice
from hyperframe.metrics import metrics_of
from hyperframe.runs.run import Run
from hyperframe.runtime.progress import heard_by, in_words, quantity, tell
from hyperframe.runtime.terminal import Console
from hyperframe.training.reporter import Reporter, Warner


class TimeLeft:
    """Estimates how long the rest of some work takes: as long for each part as those that are done have taken.

    Rich's own estimate forgets what is older than half a minute, and steps and parts of an analysis can take longer.

    Args:
        done: how many parts were done before.
    """

    def __init__(self, done: int = 0) -> None:
        self._first = done
        self._began = time.monotonic()

    def seconds(self, done: int, total: int) -> float | None:
        """The seconds that are left; None where nothing is known yet, or nothing is left."""
        if not self._first < done < total:
            return None
        return (time.monotonic() - self._began) / (done - self._first) * (total - done)


class _TimeLeftColumn(ProgressColumn):
    """Counts down to the time at which a task's field `ends` says that it ends."""

    def render(self, task: Task) -> Text:
        ends = task.fields.get("ends")
        left = "" if ends is None else f"about {in_words(max(1.0, ends - time.monotonic()))} left"
        return Text(left, style="progress.remaining")


def _ends(left: float | None) -> float | None:
    return None if left is None else time.monotonic() + left


class ProgressReporter(Warner):
    """A progress bar with the running score, entropy, speed and time left, and a line for every validation.

    The bar appears on a terminal only; the lines go to standard error everywhere. Validations count in the time left.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[results]}"),
            _TimeLeftColumn(),
            console=self.console,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID = self.progress.add_task("training", total=None, results="")
        self._score_name = "score"
        self._steps, self._time_left = 0, TimeLeft()

    def __enter__(self) -> "ProgressReporter":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, run: Run) -> None:
        """Say where the run is kept and on which device it runs."""
        self._score_name = run.experiment.task.score_metric.label
        start = f" from step {run.step} on" if run.step else ""
        place = f"training on {run.experiment.device} into {run.folder}{start}"
        self._steps, self._time_left = run.config.trainer.steps, TimeLeft(run.step)
        self.progress.update(self._task, total=self._steps, completed=run.step)
        self.console.print(place, soft_wrap=True, markup=False)

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar."""
        parts = [f"{self._score_name} {metrics['score']:.3f}"]
        terms = {name: value for key, value in metrics.items() if (name := key.removeprefix("diversity.")) != key}
        parts += [f"{name} {value:.4g}" for name, value in terms.items()]
        parts.append(f"{metrics['steps_per_second']:.1f} steps/s")
        ends = _ends(self._time_left.seconds(step, self._steps))
        self.progress.update(self._task, completed=step, results="  ".join(parts), ends=ends)

    def validated(self, step: int, results: Mapping[str, Any]) -> None:
        """Print a line."""
        parts = [
            f"step {step:>6}",
            f"{quantity(results['networks'], 'network')} on {quantity(results['examples'], 'validation example')}",
        ]
        for metric in metrics_of(results):
            value, spread = metric.value(results), metric.spread(results)
            of_whom = "ensemble's " if metric.of == "ensemble" else ""
            extremes = "" if spread is None else f" (min {spread['min']:.4f}, max {spread['max']:.4f})"
            parts.append(f"{of_whom}{metric.label} {value:.4f}{extremes}")
        if results.get("entropy") is not None:
            parts.append(f"entropy {results['entropy']:.1f}")
        left = self._time_left.seconds(step, self._steps)
        if left is not None:
            parts.append(f"about {in_words(left)} left")
        self.console.print("  ".join(parts), soft_wrap=True, markup=False)

    def paused(self, run: Run, reason: str) -> None:
        """Say why, where, and how to go on."""
        self.console.print(
            f"paused at step {run.step} of {run.config.trainer.steps}: {reason}; all is saved\n"
            f"go on with: hyperframe train --resume {shlex.quote(str(run.folder))}",
            soft_wrap=True,
            markup=False,
        )

    def finished(self, run: Run) -> None:
        """Say where it ended early, and why."""
        if run.ended is not None:
            self.console.print(
                f"ended early at step {run.step} of {run.config.trainer.steps}: {run.ended}; all is saved\n"
                f"the best checkpoint: hyperframe evaluate {shlex.quote(str(run.folder))} --checkpoint best",
                soft_wrap=True,
                markup=False,
            )


class StepsReporter(Reporter):
    """Tells whoever listens (`hyperframe.runtime.progress`) how many steps of a training among others are done.

    Args:
        what: is trained.
        steps: how many there are.
    """

    def __init__(self, what: str, steps: int) -> None:
        self.what = what
        self.steps = steps

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell the step."""
        tell(self.what, step, self.steps)

    def paused(self, run: Run, reason: str) -> None:
        """Say so, where nobody else does."""
        notice(f"{self.what}: paused at step {run.step}, since {reason}; all is saved, and the same command goes on")


@contextmanager
def shown_progress(quiet: bool) -> Iterator[None]:
    """Show a bar for each thing that is told of inside (`hyperframe.runtime.progress`); on a terminal only."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _TimeLeftColumn(),
        console=Console(stderr=True, highlight=False),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )
    known: dict[str, tuple[TaskID, TimeLeft]] = {}

    def show(what: str, done: int, total: int) -> None:
        if what not in known:
            known[what] = bars.add_task(escape(what), total=total), TimeLeft(done)
        task, time_left = known[what]
        bars.update(task, completed=done, total=total, ends=_ends(time_left.seconds(done, total)))
        if done == total:
            bars.remove_task(known.pop(what)[0])

    with bars, heard_by(show):
        yield
