"""Runs read from their folders: the configuration, a checkpoint, and what does not fit together."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperframe.config.dotted_keys import changes
from hyperframe.config.in_memory import DATA, KeptData
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config, override_pairs
from hyperframe.errors import ConfigError, RunError, notice
from hyperframe.experiment.build import Experiment, build_experiment, resolve_device
from hyperframe.options import shown
from hyperframe.runs.checkpoints import (
    Checkpoint,
    best_checkpoint,
    early_end,
    is_step,
    newest_checkpoint,
    read_checkpoint,
)
from hyperframe.runs.fingerprints import computes_otherwise, probe_outputs
from hyperframe.runs.folder import (
    CONFIG,
    TARGET,
    TASK,
    check_is_run,
    read_constants,
    read_run_config,
    restore_task,
)
from hyperframe.runs.run import Run
from hyperframe.runtime.files import as_json, different_tensors, from_json, is_file, read_tensors
from hyperframe.runtime.memory import keep_freed
from hyperframe.targets.trial_inputs import read_example


def load_run(
    folder: str | Path,
    registry: Registry,
    device: str | None = None,
    checkpoint: str | int = "last",
    overrides: Sequence[str] | Mapping[str, Any] = (),
) -> Run:
    """Load a run from its folder, with one of its checkpoints.

    Args:
        folder: the run folder.
        registry: the components to choose from.
        device: auto, cpu, cuda or cuda:INDEX; by default auto.
        checkpoint: "last", "best" (on validation data), or a step. Where the last or the best is damaged, the one
            before it or the next best is taken, and a warning says so.
        overrides: where data lie now, `KEY=VALUE` texts or a mapping of dotted keys to values.

    Raises:
        ConfigError: an override of something else.
        RunError: the folder is no run, or holds no such checkpoint that is whole.
    """
    path = check_is_run(folder)
    if is_file(path / TASK) and all((entry.kind, entry.component.name) != ("task", DATA) for entry in registry.all()):
        registry = registry.with_plugins([KeptData()])
    # The number of threads belongs to training; this machine may have fewer.
    here = [("trainer.device", "auto" if device is None else device), ("trainer.threads", None)]
    moved = override_pairs(overrides)
    stored, config = read_run_config(path, registry, here)
    for key, _ in moved:
        if key not in stored.locations:
            known = ", ".join(stored.locations) or "this run has no key for that"
            raise ConfigError(
                f"{key}: a run is read as it was trained; only where its data lie can be overridden: {known}"
            )
    if moved:
        _, config = read_run_config(path, registry, [*here, *moved])
    found = _checkpoint(path, checkpoint)
    keep_freed(resolve_device(config.trainer.device))
    experiment = build_experiment(config, restore_task(path, config), read_example(path), read_constants(path))
    restore(path, found, experiment)
    experiment.generator.eval()
    otherwise = computes_otherwise(found.state.get("probe"), probe_outputs(experiment.target))
    if otherwise is not None:
        notice(f"the target's code is not that which {path} was trained with: {otherwise}")
    ended = early_end(found.state, config.trainer.patience, config.trainer.steps)
    return Run(path, config, found.step, experiment, registry, recorded_data(found), ended)


def recorded_data(found: Checkpoint) -> dict[str, str]:
    """The fingerprints of splits that a checkpoint keeps."""
    recorded = found.state.get("data")
    return {str(key): str(value) for key, value in recorded.items()} if isinstance(recorded, Mapping) else {}


def restore(folder: Path, found: Checkpoint, experiment: Experiment) -> None:
    """Put a checkpoint's parameters, its budget and the target's constants into an experiment."""
    _check_config(folder, found, experiment.config)
    if experiment.target.constants():
        experiment.target.load_constants(read_tensors(folder / TARGET))
    trained, here = found.state.get("target"), experiment.target.identity()
    if isinstance(trained, Mapping) and trained != here:
        words = " and not ".join(", ".join(f"{k} '{v}'" for k, v in each.items()) for each in (trained, here))
        raise RunError(f"{folder} was trained with another target: {words}")
    state = found.generator()
    different = different_tensors(experiment.generator.state_dict(), state)
    if different:
        raise RunError(f"{folder}: the checkpoint of step {found.step} does not fit its configuration: {different}")
    experiment.generator.load_state_dict(state)
    experiment.loss.evaluations = found.state["gradient_evaluations"]


def _check_config(folder: Path, found: Checkpoint, config: Config) -> None:
    """Raise where what a run is was changed in its configuration after it was trained."""
    trained, here = found.state.get("kept"), from_json(as_json(config.kept()))
    if not isinstance(trained, Mapping):
        return
    for section, values in trained.items():
        known = here.get(section)
        if not isinstance(values, Mapping) or not isinstance(known, Mapping):
            continue
        for change in changes(values, {key: known.get(key) for key in values}, section):
            raise RunError(
                f"{folder / CONFIG} is not what the run was trained with ({change}); put that back, or train a new run"
            )


def _checkpoint(folder: Path, which: str | int) -> Checkpoint:
    if which == "best":
        return best_checkpoint(folder)
    if which == "last":
        found = newest_checkpoint(folder)
        if found is None:
            raise RunError(
                f"{folder} holds no checkpoint; the run was stopped before the first one. "
                f"'hyperframe train --resume {shlex.quote(str(folder))}' goes on with it"
            )
        return found
    if type(which) is int or (isinstance(which, str) and is_step(which)):
        return read_checkpoint(folder, int(which))
    raise RunError(f"checkpoint: expected last, best or a step, but got {shown(which)}")
