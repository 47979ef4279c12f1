"""Training: the step, and the loop around it that logs, validates and saves."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from hyperframe.config import Config
from hyperframe.errors import TrainingError
from hyperframe.evaluation import draw_networks, evaluate
from hyperframe.experiment import Experiment, build_experiment
from hyperframe.files import append_line
from hyperframe.plugins import Registry
from hyperframe.preflight import load_data
from hyperframe.run import FORMAT, METRICS, Run, create_run, free_folder, write_checkpoint
from hyperframe.schedule import rate_at
from hyperframe.seeds import seeded, stream
from hyperframe.types import Data

STREAMS = ("latent", "data", "terms")
"""Random numbers of their own for z, for the choice of images, and for terms of the loss."""


class Reporter(Protocol):
    """Is told how training goes on; the command line shows it, a library user may not care."""

    def started(self, run: Run) -> None:
        """The run folder is there and training begins."""
        ...

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of the steps since the last time, at the logging interval."""
        ...

    def validated(self, step: int, figures: Mapping[str, Any]) -> None:
        """Figures on validation data."""
        ...


class Silent:
    """A reporter that says nothing."""

    def started(self, run: Run) -> None:
        """Say nothing."""

    def logged(self, step: int, metrics: Mapping[str, float]) -> None:
        """Say nothing."""

    def validated(self, step: int, figures: Mapping[str, Any]) -> None:
        """Say nothing."""


class Trainer:
    """One training: the optimiser, the random numbers, and the step.

    Args:
        experiment: what is trained.
        train: training data; it is moved to the experiment's device and stays there.
    """

    def __init__(self, experiment: Experiment, train: Data) -> None:
        self.experiment = experiment
        self.options = options = experiment.config.trainer
        self.train = train.to(experiment.device)
        self.step_count = 0
        self.parameters = [value for value in experiment.generator.parameters() if value.requires_grad]
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=options.rate,
            betas=(options.beta1, options.beta2),
            eps=options.epsilon,
            fused=True,
        )
        self.streams = {name: stream(options.seed, name, experiment.device) for name in STREAMS}
        self._first_bad = torch.full((), -1, device=experiment.device)
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    def step(self) -> None:
        """Do one optimiser step (section 3.2, appendix G). Nothing here waits for the device.

        The first step whose loss or gradient is not finite is remembered on the device and freezes the parameters from
        then on; `check_finite` reads it.
        """
        options, generator = self.options, self.experiment.generator
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step_count, options)
        z = generator.latent(options.z, self.streams["latent"])
        chosen = torch.randint(
            len(self.train), (options.z, options.images), generator=self.streams["data"], device=self.train.x.device
        )
        batch = self.train[chosen]
        metrics = self.experiment.objective.gradients(generator, z, batch, self.streams["terms"])
        gradients = [value.grad for value in self.parameters if value.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if options.gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, options.gradient_clip, norm)
        bad = ~(metrics["loss"].isfinite() & norm.isfinite())
        self._first_bad = torch.where(bad & (self._first_bad < 0), self.step_count, self._first_bad)
        # The fused optimiser leaves parameters and moments alone where this is 1, without being asked from the host.
        self.optimizer.found_inf = (self._first_bad >= 0).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()
        generator.after_step(self.step_count)
        for name, value in {**metrics, "gradient_norm": norm}.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._summed += 1
        self.step_count += 1

    def read_metrics(self) -> dict[str, float]:
        """Mean metrics of the steps since the last call; waits for the device."""
        names = list(self._sums)
        values = torch.stack([self._sums[name].double() for name in names]).tolist() if names else []
        means = {name: value / self._summed for name, value in zip(names, values, strict=True)}
        self._sums, self._summed = {}, 0
        return means

    def check_finite(self) -> None:
        """Raise `TrainingError` where a step's loss or gradient was not finite; waits for the device."""
        step = int(self._first_bad)
        if step >= 0:
            raise TrainingError(
                f"the loss or its gradient was not finite in step {step}; training stopped there. Try a lower "
                "trainer.rate, a limit such as trainer.gradient_clip=1, or another trainer.seed"
            )

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's state and the random numbers' states."""
        state = self.optimizer.state_dict()["state"]
        result = {f"optimizer.{number}.{key}": value for number, entry in state.items() for key, value in entry.items()}
        result |= {f"random.{name}": stream.get_state() for name, stream in self.streams.items()}
        return result


def train_run(
    config: Config, registry: Registry, out: str | Path | None = None, reporter: Reporter | None = None
) -> Run:
    """Train a generator from a configuration into a run folder.

    Nothing is written before the configuration, the data, the device and the folder are known to be good.

    Args:
        config: what to train.
        registry: for the hooks that observe training.
        out: the run folder, absent or empty; by default a new one under `runs`.
        reporter: is told how it goes.

    Raises:
        HyperframeError: anything a user can mend.
    """
    folder = free_folder(out, config.name, config)
    experiment = build_experiment(config)
    train, validation = load_data(experiment.task, "train"), load_data(experiment.task, "validation")
    # A target's dropout draws from the global random numbers.
    with seeded(config.trainer.seed, "global", experiment.device), cpu_threads(config.trainer.threads):
        create_run(folder, config, experiment)
        trainer = Trainer(experiment, train)
        run = Run(folder, config, 0, experiment)
        _loop(run, trainer, validation[: config.evaluation.images], registry, reporter or Silent())
    experiment.generator.eval()
    return run


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads on the CPU; None changes nothing. The old number comes back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _loop(run: Run, trainer: Trainer, validation: Data, registry: Registry, reporter: Reporter) -> None:
    options, evaluation = run.config.trainer, run.config.evaluation
    validation = validation.to(run.experiment.device)
    run.experiment.generator.train()
    reporter.started(run)
    started, logged = time.perf_counter(), 0
    while trainer.step_count < options.steps:
        trainer.step()
        step, last = trainer.step_count, trainer.step_count == options.steps
        run.step = step
        if step % options.log_every == 0 or last:
            metrics = trainer.read_metrics()
            trainer.check_finite()
            metrics["steps_per_second"] = (step - logged) / (time.perf_counter() - started)
            metrics["rate"] = rate_at(step - 1, options)
            append_line(run.folder / METRICS, {"step": step, **metrics})
            registry.manager.hook.hyperframe_step_end(run=run, step=step, metrics=metrics)
            reporter.logged(step, metrics)
            logged = step
            started = time.perf_counter()
        paused = time.perf_counter()
        if step % evaluation.every == 0 or last:
            figures = _validate(run.experiment, validation, trainer.train)
            append_line(run.folder / METRICS, {"step": step, "validation": figures})
            reporter.validated(step, figures)
        if step % options.checkpoint_every == 0 or last:
            trainer.check_finite()
            write_checkpoint(
                run.folder,
                step,
                run.experiment.generator.state_dict(),
                trainer.tensors(),
                {"format": FORMAT, "step": step},
            )
        started += time.perf_counter() - paused  # the clock of steps_per_second stands still meanwhile


def _validate(experiment: Experiment, validation: Data, train: Data) -> dict[str, Any]:
    """Draw networks and measure them; disturbs neither random numbers nor modes of the training."""
    evaluation = experiment.config.evaluation
    count = experiment.generator.at_most(evaluation.networks)
    networks = draw_networks(experiment, count, evaluation.seed, train)
    return evaluate(experiment, networks, validation)
