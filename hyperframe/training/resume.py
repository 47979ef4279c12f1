"""Runs that go on: from their newest checkpoint that is whole, bit for bit where nothing has changed."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor

from hyperframe.config.dotted_keys import changes
from hyperframe.config.import_path import MODULE, TYPED, is_factory
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config, override_pairs
from hyperframe.errors import ConfigError, notice
from hyperframe.experiment.build import build_experiment
from hyperframe.options import plain_options
from hyperframe.runs.checkpoints import Checkpoint, early_end, newest_checkpoint, set_damaged_aside
from hyperframe.runs.fingerprints import computes_otherwise
from hyperframe.runs.folder import (
    check_is_run,
    claim,
    create_run,
    read_constants,
    read_run_config,
    restore_task,
    write_config,
)
from hyperframe.runs.loading import recorded_data, restore
from hyperframe.runs.provenance import add_resumption, bound_of
from hyperframe.runs.run import Run
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.progress import quantity
from hyperframe.targets.trial_inputs import read_example
from hyperframe.training.beginning import begin
from hyperframe.training.loop import Training
from hyperframe.training.reporter import Reporter, Warner

HARMLESS = (
    "evaluation",
    "trainer.checkpoint_every",
    "trainer.cuda_graph",
    "trainer.device",  # what it comes to is compared instead, and so it is with threads
    "trainer.keep_checkpoints",
    "trainer.log_every",
    "trainer.patience",
    "trainer.threads",
)
"""Keys that can change and leave what is trained as it is, beside where data lie; the data themselves are compared."""


def resume_run(
    folder: str | Path,
    overrides: Sequence[str] | Mapping[str, Any],
    registry: Registry,
    reporter: Reporter | None = None,
    processes: Processes = ALONE,
    constants: Mapping[str, Tensor] | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint that is whole.

    On the CPU, with the same numbers of threads and processes, the same versions and no changes, what comes is what
    would have come without the interruption, bit for bit; a warning names what stands against it. A run without a
    checkpoint starts anew. Lines of metrics that came after the checkpoint are dropped, since they come again.

    Args:
        folder: the run folder.
        overrides: `KEY=VALUE` texts, or a mapping of dotted keys to values. They become part of the run, but for
            `trainer.stop_after` and `trainer.max_seconds`.
        registry: the components to choose from.
        reporter: is told how it goes; by default one that passes on warnings alone.
        processes: those that train together, each with a call of this; the first writes the folder.
        constants: for a run that starts anew, see `begin`.

    Raises:
        HyperframeError: anything a user can mend.
        KeyboardInterrupt: Ctrl-C; what was trained is saved first.
    """
    path = check_is_run(folder)
    with claim(path) if processes.first else nullcontext():
        stored, config = read_run_config(path, registry, _of_run(path, override_pairs(overrides), registry))
        config = config.with_absolute_locations()
        changed = list(changes(stored.without_pauses().plain(), config.without_pauses().plain()))
        found = newest_checkpoint(path)
        step = found.step if found else 0
        _check_changes(stored, config, step)
        # A run that starts anew reads trained weights again.
        kept = read_example(path), read_constants(path) if found else constants
        experiment = build_experiment(config, restore_task(path, config), *kept, processes)
        run = Run(path, config, step, experiment, registry)
        training = Training(run, reporter or Warner())
        with training.settings(_threads(config, found)):
            if found is None:
                notice(f"{path} has no checkpoint yet; it starts anew")
                begun = begin(run.experiment, constants)
                processes.wait()  # all have read the folder
                if processes.first:
                    create_run(path, config, run.experiment, training.inputs, begun | bound_of(training.departures))
            else:
                _restore(training, found, changed)
            if run.finished:
                run.experiment.generator.eval()
                notice(_what_extends(run))
            else:
                training.go_on()
    return run


def _of_run(folder: Path, pairs: Sequence[tuple[str, Any]], registry: Registry) -> Sequence[tuple[str, Any]]:
    """Overrides less a target that says what makes the module which was handed over in Python, and changes nothing."""
    others = [(key, value) for key, value in pairs if key not in ("target", "target.name") or not is_factory(value)]
    if len(others) == len(pairs):
        return pairs
    target = read_run_config(folder, registry)[0].target
    return others if target.name == MODULE and target.registered.source.distribution == TYPED else pairs


def _what_extends(run: Run) -> str:
    """Say why a run has nothing left to do, and by which key it would go on."""
    if run.ended is None:
        done = quantity(run.step, "step")
        return f"the run has done {done}, which is all; a larger number, trainer.steps=N, extends the run"
    return (
        f"the run ended early at step {run.step}: {run.ended}; a larger number than "
        f"trainer.patience={run.config.trainer.patience}, or trainer.patience=null, lets it go on"
    )


def _check_changes(stored: Config, config: Config, step: int) -> None:
    # A prior that adds nothing is not kept, but a change is told by what was typed.
    before, after = ({**one.kept(), "prior": plain_options(one.prior)} for one in (stored, config))
    for change in changes(before, after) if stored.kept() != config.kept() else ():
        raise ConfigError(f"a run keeps its {change.partition(':')[0]} ({change}); train a new run for another one")
    if step and config.trainer.from_ != stored.trainer.from_:
        raise ConfigError(
            f"trainer.from: the run began before its step {step}, with {stored.trainer.from_ or 'first parameters'}; "
            "train a new run to begin elsewhere"
        )
    if step and config.target.common.weights != stored.target.common.weights:
        raise ConfigError(
            f"target.weights: the run keeps the weights that it began with before its step {step}, and reads no file "
            "again; train a new run for others"
        )
    if config.trainer.steps < step:
        raise ConfigError(
            f"trainer.steps={config.trainer.steps} is less than the {quantity(step, 'step')} that the run has done "
            "already"
        )


def _is_one(change: str, keys: Sequence[str]) -> bool:
    """Whether a change is of one of these keys, or of one below them."""
    key = change.partition(":")[0]
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def _threads(config: Config, found: Checkpoint | None) -> int | None:
    """The number of threads the run has had, where its configuration leaves it open and there are so many cores."""
    before = _recorded(found).get("threads")
    if config.trainer.threads is None and isinstance(before, int) and 0 < before <= (os.cpu_count() or 1):
        return before
    return config.trainer.threads


def _recorded(found: Checkpoint | None) -> Mapping[str, Any]:
    recorded = found.state.get("environment") if found else None
    return recorded if isinstance(recorded, Mapping) else {}


def _of_data_and_code(training: Training, found: Checkpoint) -> list[str]:
    """List what of data and of the target's code is not as it was at a checkpoint."""
    recorded, here = recorded_data(found), training.run.fingerprints or {}
    differences = list(changes(recorded, {**recorded, **here}, "data"))
    otherwise = computes_otherwise(found.state.get("probe"), training.probe)
    return differences + ([] if otherwise is None else [f"the target's code: {otherwise}"])


def _restore(training: Training, found: Checkpoint, changed: Sequence[str]) -> None:
    """Put the checkpoint's state into the training, say what has changed, and note it with the run."""
    run, recorded = training.run, _recorded(found)
    here = training.environment()
    restore(run.folder, found, run.experiment)
    same_device = recorded.get("device") == here["device"]
    training.trainer.restore(found.step, found.trainer(), same_device=same_device)
    training.validations.restore(found.state.get("validations", training.validations.plain()))
    run.ended = early_end(found.state, run.config.trainer.patience, run.config.trainer.steps)
    if not any(_is_one(change, ("trainer.chunk",)) for change in changed):  # as memory sufficed for them
        chunk, chunks = found.state.get("halved_chunk"), run.experiment.loss.chunks
        chunks.sequential = found.state.get("sequential_chunks") is True
        if isinstance(chunk, int) and chunk > 0:
            chunks.size = chunks.halved = chunk
    if run.finished and not changed:
        return
    harmless = (*HARMLESS, *run.config.locations)
    differences = [change for change in changed if not _is_one(change, harmless)] + list(changes(recorded, here))
    differences += _of_data_and_code(training, found)
    if all(_is_one(change, ("data.test",)) for change in differences):
        for change in differences:
            notice(f"the test split is not what it was when {run.folder} was trained: {change}")
    elif not run.finished:
        notice(
            f"from step {found.step} on the run is not, bit for bit, what it would have been without the interruption: "
            f"{'; '.join(differences)}"
        )
    run.experiment.processes.wait()  # all have read the folder
    if not run.experiment.processes.first:
        return
    set_damaged_aside(run.folder)
    write_config(run.folder, run.config)
    add_resumption(run.folder, found.step, changed, run.experiment, bound_of(training.departures))
