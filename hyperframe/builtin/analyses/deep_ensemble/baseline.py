"""Reference runs: networks of a run's target that are trained independently on its task, in one run of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from hyperframe import Run
from hyperframe.config.choices import choose
from hyperframe.config.overrides import DEFAULTS
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.errors import RunError, notice
from hyperframe.runs.checkpoints import checkpoint_steps
from hyperframe.runs.folder import CONFIG, read_run_config
from hyperframe.runs.loading import load_run
from hyperframe.runtime.files import is_file
from hyperframe.runtime.progress import tell
from hyperframe.training.loop import Silent, train_run
from hyperframe.training.resume import resume_run

IMAGES = 32
"""Images that each network sees in a step."""


def deep_ensemble(run: Run, folder: Path, networks: int, steps: int, rate: float, *, shared: bool = False) -> Run:
    """Train independent networks of a run's target on its task, or load those that the folder holds.

    The generator is `direct`: Adam trains the weights themselves, with a one-cycle rate, 32 examples for each network
    in a step and no diversity term. A training that was interrupted goes on.

    Args:
        run: the run whose target and task are taken.
        folder: the run folder of the reference; missing, or one that this function began.
        networks: how many.
        steps: steps of the optimiser.
        rate: the highest learning rate of the cycle.
        shared: take finished networks of the folder as they are, whatever their number, steps and rate.

    Raises:
        RunError: the folder holds something else, networks of another target or task, or networks that were trained
            with other options and are not shared.
        KeyboardInterrupt: Ctrl-C; a checkpoint is written first.
    """
    registry = run.registry
    reporter = _Told(steps)
    if not is_file(folder / CONFIG):
        return train_run(_config(run, networks, steps, rate, registry), registry, folder, reporter)
    _check_same(run, read_run_config(folder, registry)[1], folder)
    data = {key: value for key, value in run.config.locations.items() if key.startswith("task.")}  # may have moved
    if checkpoint_steps(folder):
        known = load_run(folder, registry, str(run.experiment.device), overrides=data)
        wanted = {"networks": networks, "steps": steps, "rate": rate}
        _check_trained(known, folder, wanted, shared=shared and known.finished)
        if known.finished:
            return known
    return resume_run(folder, data, registry, reporter)


def _config(run: Run, networks: int, steps: int, rate: float, registry: Registry) -> Config:
    """Return the run's configuration with the generator `direct` and plain training."""
    trainer = attrs.evolve(
        run.config.trainer,
        steps=steps,
        networks=networks,
        batch_size=IMAGES,
        rate=rate,
        schedule="one_cycle",
        gradient_clip=None,
        checkpoint_every=max(steps // 10, 1),
        keep_checkpoints=1,
        stop_after=None,
        max_seconds=None,
    )
    return attrs.evolve(
        run.config,
        name=f"{run.config.name}-reference",
        generator=choose(registry, "generator", {"name": "direct", "networks": networks}, "generator"),
        diversity=(choose(registry, "diversity", "none", "diversity"),),
        objective=choose(registry, "objective", DEFAULTS["objective"], "objective"),
        trainer=trainer,
        evaluation=attrs.evolve(run.config.evaluation, every=steps, analyses=()),
    )


def _check_same(run: Run, known: Config, folder: Path) -> None:
    here, there = run.config.plain(), known.plain()
    if there["generator"]["name"] != "direct":
        raise RunError(f"the reference {folder} has the generator '{there['generator']['name']}'; it must be 'direct'")
    for key in ("target", "task"):
        if run.config.kept()[key] != known.kept()[key]:
            raise RunError(f"the reference {folder} is of another {key}: {there[key]} and not {here[key]}")


def _check_trained(known: Run, folder: Path, wanted: Mapping[str, float], *, shared: bool) -> None:
    """Compare how networks were trained with the options: a notice where they are shared, else `RunError`."""
    trainer = known.config.trainer
    there = {"networks": trainer.networks, "steps": trainer.steps, "rate": trainer.rate}
    if there == wanted:
        return
    if shared:
        notice(
            f"the reference {folder} is taken as it is: {there['networks']} networks, {there['steps']} steps, rate "
            f"{there['rate']:g}, and not {wanted['networks']}, {wanted['steps']}, {wanted['rate']:g}; remove it, or "
            "name another folder, to have these trained"
        )
        return
    words = ["networks={networks}, steps={steps}, rate={rate:g}".format(**each) for each in (there, wanted)]
    raise RunError(
        f"the reference {folder} was begun with {words[0]} and not with {words[1]}; give these options, remove the "
        "folder, or name another one with deep_ensemble.reference=FOLDER"
    )


class _Told(Silent):
    """Reports the training's progress to the analysis' progress bar."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def logged(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Report the step."""
        tell("steps of the reference", step, self.steps)
