"""Training runs: started or resumed, paused, saved, and stopped with a message where they cannot go on."""

import math
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperframe.config.registry import Registry
from hyperframe.config.schedule import rate_at
from hyperframe.config.schema import Config
from hyperframe.errors import (
    DivergedError,
    HyperframeError,
    MemoryShortageError,
    RunError,
    TrainingError,
    described,
    notice,
    others_code,
)
from hyperframe.experiment.bound import departures
from hyperframe.experiment.evaluation import draw_networks, evaluate
from hyperframe.experiment.preflight import check_precision, tell_left_out
from hyperframe.metrics import validation_score
from hyperframe.runs.checkpoints import (
    CHECKPOINTS,
    best_step,
    checkpoint_steps,
    early_end,
    remove_checkpoints,
    validation_scores,
    write_checkpoint,
)
from hyperframe.runs.fingerprints import fingerprints_of, probe_outputs
from hyperframe.runs.folder import claim, create_run, folder_identity, free_folder
from hyperframe.runs.metrics_log import MetricsLog
from hyperframe.runs.provenance import add_early_end, bound_of, environment
from hyperframe.runs.run import Run
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.links import inside
from hyperframe.runtime.memory import keep_freed, unless_out_of_memory
from hyperframe.runtime.progress import quantity
from hyperframe.runtime.rng import seeded
from hyperframe.runtime.signals import StopSignals
from hyperframe.runtime.threads import cpu_threads
from hyperframe.tasks.checked import load_data
from hyperframe.tasks.input_statistics import trained_inputs
from hyperframe.training.beginning import new_run
from hyperframe.training.early_stopping import Validations, tell_idle_patience
from hyperframe.training.reporter import Observers, Reporter, Warner
from hyperframe.training.trainer import Trainer, check_room, shortages_told
from hyperframe.types import Data


def train_run(
    config: Config,
    registry: Registry,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
    processes: Processes = ALONE,
    constants: Mapping[str, Tensor] | None = None,
) -> Run:
    """Train a generator from a configuration into a run folder.

    Nothing is written before the configuration, the data, the device and the folder are known to be good.

    Args:
        config: what to train.
        registry: the components that the configuration was read with; its plugins may observe the training.
        out: the run folder, absent or empty; by default a new one under `runs`.
        reporter: is told how it goes; by default one that passes on warnings alone.
        processes: those that train together, each with a call of this; the first writes the folder.
        constants: see `hyperframe.training.beginning.begin`.

    Raises:
        HyperframeError: anything a user can mend.
        KeyboardInterrupt: Ctrl-C; what was trained is saved first.
    """
    run, begun = new_run(config, registry, out, processes, constants)
    training = Training(run, reporter or Warner())
    processes.wait()  # all are good
    with claim(run.folder) if processes.first else nullcontext(), training.settings(config.trainer.threads):
        if processes.first:
            free_folder(run.folder, run.config)  # another run may have used it meanwhile
            create_run(run.folder, run.config, run.experiment, training.inputs, begun | bound_of(training.departures))
        training.go_on()
    return run


class Training:
    """A run, its trainer and its data.

    Of several processes each has one, and all go the same way: they take the same steps, and pause after the same one.
    The first also logs, validates and saves. The others have no log, and wait for it meanwhile.

    Args:
        run: what is trained; `run.step` follows.
        reporter: is told how it goes.
        data: for training and for validation, where they are read already.
    """

    def __init__(self, run: Run, reporter: Reporter, data: tuple[Data, Data] | None = None) -> None:
        self.run = run
        self.observers = Observers(reporter)
        keep_freed(run.experiment.device)
        self.options = run.config.trainer
        task, examples = run.experiment.task, run.config.evaluation.examples
        train, validation = data or (load_data(task, "train"), load_data(task, "validation"))
        for part in (train, validation):
            run.experiment.target.check_data(part)
        tell_left_out(run.experiment.target)
        check_precision(self.options.precision, run.experiment.device)
        run.fingerprints = fingerprints_of(task, {"train": train, "validation": validation})
        self.inputs = trained_inputs(task, train)
        self.validation: Data = validation[:examples].to(run.experiment.device)
        check_room(run.experiment)
        self.trainer = Trainer(run.experiment, train)
        with shortages_told(self.options):
            self.trainer.dry_run()
        self.departures = departures(run.experiment)
        self.validations = Validations(task.metrics, self.options.steps)
        self._scores: dict[int, float] = {}
        self._place: tuple[int, int] | None = None

    @cached_property
    def probe(self) -> list[float] | None:
        """A few outputs of the target, see `probe_outputs`; asked for once the run's constants are in their places."""
        return probe_outputs(self.run.experiment.target)

    def environment(self) -> dict[str, Any]:
        """All that the bits of the result depend on beside the configuration, as far as it is known."""
        versions = {
            choice.registered.source.distribution: choice.registered.source.version
            for choice in self.run.config.choices.values()
        }
        experiment = self.run.experiment
        return {**environment(experiment.device, experiment.processes), "versions": versions}

    @contextmanager
    def settings(self, threads: int | None) -> Iterator[None]:
        """Global settings that a training needs, and puts back: random numbers, which a dropout draws, and threads."""
        experiment = self.run.experiment
        with seeded(self.options.seed, "global", experiment.device), cpu_threads(threads):
            yield

    def go_on(self) -> None:
        """Train until the last step, an early end, or a pause; `run.step` says how far it came.

        Raises:
            TrainingError: the loss is not finite, or memory ran out.
            KeyboardInterrupt: Ctrl-C; other signals likewise do what they did before. All is saved first.
        """
        inside(self.run.folder, CHECKPOINTS)  # else the first one would fail, after hours
        self._scores = validation_scores(self.run.folder)
        self._place = folder_identity(self.run.folder)
        self.run.experiment.generator.train()
        if self.run.experiment.processes.first:
            self.observers.join(self.run.registry.manager.reporters(self.run))
        self.observers.tell("started", self.run)
        self.tell_doubts()
        try:
            with StopSignals() as signals, self._opened_log() as log:
                reason = self._guarded(log, signals)
        except RunError as error:
            raise RunError(f"{error}. {self._way_back()}") from error
        self.run.experiment.generator.eval()
        if self.run.finished:
            self.observers.tell("finished", self.run)
        else:
            self.observers.tell("paused", self.run, reason)
        signals.pass_on()

    def tell_doubts(self) -> None:
        """Say why the loss of a variational objective is no bound of the evidence, and which patience ends nothing."""
        tell_idle_patience(self.run.config)
        for reason in self.departures or ():
            notice(f"objective {self.run.config.objective.name}: the loss is no bound of the evidence, since {reason}")

    def _opened_log(self) -> AbstractContextManager[MetricsLog | None]:
        writes = self.run.experiment.processes.first
        return MetricsLog(self.run.folder, self.trainer.step_count) if writes else nullcontext()

    def _guarded(self, log: MetricsLog | None, signals: StopSignals) -> str:
        """Run the loop; note with the run why it fails, and say how to go on."""
        try:
            with shortages_told(self.options), others_code(unless_out_of_memory(self._failed)):
                return self._loop(log, signals)
        except (TrainingError, MemoryShortageError) as error:
            failure: HyperframeError = error
        self.observers.tell("failed", self.run, str(failure))
        try:
            if log is not None:
                log.failed(self.trainer.step_count, str(failure))
        except RunError as error:
            notice(str(error))
        raise TrainingError(f"{failure}. {self._way_back()}") from failure

    def _failed(self, error: BaseException) -> TrainingError:
        """Say that components failed, which are code of others."""
        done, steps = self.trainer.step_count, self.options.steps
        return TrainingError(f"a component failed after {done:,} of {quantity(steps, 'step')}: {described(error)}")

    def _loop(self, log: MetricsLog | None, signals: StopSignals) -> str:
        """Train until the last step or an early end, or until there is a reason to pause, which is returned."""
        run, options, trainer, processes = self.run, self.options, self.trainer, self.run.experiment.processes
        began, first, reason = time.perf_counter(), trainer.step_count, ""
        clock = _Clock(first, processes)
        while not run.finished and not reason:
            trainer.step()
            run.step = step = trainer.step_count
            last = step == options.steps
            late = options.max_seconds is not None and time.perf_counter() - began >= options.max_seconds
            # A signal may reach one of several processes alone. On the CPU, so that no device is waited for.
            received, any_late = processes.highest(signals.received or 0, late)
            if received:
                signals.received = signal.Signals(received)
                reason = f"{signals.received.name} was received"
            elif step - first == options.stop_after:
                reason = f"trainer.stop_after={options.stop_after} was reached"
            elif any_late:
                reason = f"trainer.max_seconds={options.max_seconds:g} was reached"
            if step % options.log_every == 0 or last:
                self._log(log, clock)
            validates, saves = step % run.config.evaluation.every == 0, step % options.checkpoint_every == 0
            if log is not None:
                with clock.stopped():
                    score = self._validate(log) if validates or last else None
                    best = score is not None and score > max(self._scores.values(), default=-math.inf)
                    if best or saves or last or reason or run.ended:
                        self._save(log, score)
            if validates or saves or last or reason:
                run.ended = processes.decided(lambda: run.ended)
        return reason

    def _log(self, log: MetricsLog | None, clock: "_Clock") -> None:
        step = self.trainer.step_count
        if log is None:
            clock.speeds(step)  # the first process asks for the seconds of all
            return
        metrics = self.trainer.read_metrics()
        self.trainer.check_finite()
        metrics["steps_per_second"], metrics["cpu_seconds_per_step"] = clock.speeds(step)
        metrics["rate"] = rate_at(step - 1, self.options)
        log.metrics(step, metrics)
        self.observers.tell("logged", step, metrics)

    def validate(self) -> dict[str, Any]:
        """Draw networks and measure them on the validation data; disturbs neither random numbers nor modes.

        Raises:
            DivergedError: their outputs are not all finite.
        """
        experiment, evaluation = self.run.experiment, self.run.config.evaluation
        count = experiment.generator.at_most(evaluation.networks)
        networks = draw_networks(experiment, count, evaluation.seed, self.trainer.train)
        networks.origin = f"step {self.trainer.step_count} is not validated"
        return evaluate(experiment, networks, self.validation)

    def _validate(self, log: MetricsLog) -> float | None:
        """Measure, tell the results, and note whether training ends early; return the score, None without one."""
        run, step, results = self.run, self.trainer.step_count, None
        try:
            results = self.validate()
        except DivergedError as error:  # the training may recover
            notice(str(error))
        if results is not None:
            log.validation(step, results)
            self.observers.tell("validated", step, results)
        warning = self.validations.add(step, results)
        if warning is not None:
            self.observers.tell("worsened", run, warning)
        seen = {"step": step, "validations": self.validations.plain()}
        run.ended = early_end(seen, self.options.patience, self.options.steps)
        score = math.nan if results is None else validation_score(run.experiment.task.metrics, results)
        return score if math.isfinite(score) else None

    def _save(self, log: MetricsLog, score: float | None) -> None:
        run, step = self.run, self.trainer.step_count
        if folder_identity(run.folder) != self._place:
            raise RunError(f"the run folder {run.folder} was moved or removed while the run was trained")
        self.trainer.check_finite()
        log.flush()
        state = {
            "validation_score": score,
            "validations": self.validations.plain(),
            "halved_chunk": run.experiment.loss.chunks.halved,
            "sequential_chunks": run.experiment.loss.chunks.sequential,
            "gradient_evaluations": run.experiment.loss.evaluations,
            "target": run.experiment.target.identity(),
            "kept": run.config.kept(),
            "environment": self.environment(),
            "data": dict(run.fingerprints or {}),
            "probe": self.probe,
        }
        write_checkpoint(run.folder, step, run.experiment.generator.state_dict(), self.trainer.tensors(), state)
        if run.ended is not None:
            add_early_end(run.folder, step, run.ended)
        if score is not None:
            self._scores[step] = score
        remove_checkpoints(run.folder, self.options.keep_checkpoints, best_step(self._scores))

    def _way_back(self) -> str:
        """Say where the last good state lies, and how to go on from it."""
        folder = self.run.folder
        steps = checkpoint_steps(folder)
        command = f"'hyperframe train --resume {shlex.quote(str(folder))} [KEY=VALUE]...'"
        if not steps:
            return f"No step is saved; {command} starts the run anew"
        return f"The last good checkpoint is {folder / CHECKPOINTS / str(steps[-1])}; {command} goes on from there"


class _Clock:
    """Measures how long steps take; stands still while other things are done."""

    def __init__(self, step: int, processes: Processes) -> None:
        self._step, self._processes = step, processes
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def speeds(self, step: int) -> tuple[float, float]:
        """Steps a second since the last call, and the CPU seconds of each, in all processes together."""
        wall, cpu, steps = time.perf_counter(), time.process_time(), step - self._step
        speeds = steps / (wall - self._wall), self._processes.total(cpu - self._cpu) / steps
        self._step, self._wall, self._cpu = step, wall, cpu
        return speeds

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the time inside not count."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._wall += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu
