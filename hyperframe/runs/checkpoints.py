"""Checkpoints of a run: written whole, verified when read, the last ones and the best one kept.

    checkpoints/STEP/generator.safetensors    parameters and buffers of the generator
    checkpoints/STEP/trainer.safetensors      optimiser, averages, random numbers, metrics since the last line; not in a
                                              run that was saved to be used
    checkpoints/STEP/state.json               step, validation score, what repeatability depends on, and digests

`state.json` has the size and SHA-256 of the other files and of itself, so that a checkpoint that was cut short or
changed is known to be damaged, and the one before it is taken.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor

from hyperframe.errors import RunError, notice
from hyperframe.options import shown
from hyperframe.runtime.files import (
    as_json,
    contents,
    digest,
    exists,
    is_file,
    read_json,
    read_tensors,
    whole_folder,
    write_json,
    write_tensors,
    writing,
)
from hyperframe.runtime.links import inside
from hyperframe.runtime.progress import quantity

CHECKPOINTS = "checkpoints"
GENERATOR, TRAINER, STATE = "generator.safetensors", "trainer.safetensors", "state.json"
FORMAT = 3
"""The version of what a run folder holds."""


@attrs.frozen(kw_only=True)
class Checkpoint:
    """A checkpoint whose files are as they were written.

    Attributes:
        folder: where its files lie.
        step: how many steps were done.
        state: what `state.json` says.
    """

    folder: Path
    step: int
    state: Mapping[str, Any]

    def generator(self) -> dict[str, Tensor]:
        """The generator's parameters and buffers."""
        return read_tensors(self.folder / GENERATOR)

    def trainer(self) -> dict[str, Tensor]:
        """The state of optimiser and averages, random numbers and metrics.

        Raises:
            RunError: it was left out, where the run was saved to be used.
        """
        if TRAINER not in self.state["files"]:
            raise RunError(
                f"{self.folder} has no {TRAINER}: the run was saved to be used, and training cannot go on with it. "
                "'trainer.from=RUN' begins another training with its generator"
            )
        return read_tensors(self.folder / TRAINER)


def checkpoint_steps(run: Path) -> list[int]:
    """The steps of a run's checkpoints, in order, whether they are damaged or not."""
    parent = run / CHECKPOINTS
    found = contents(parent) if exists(parent) and parent.is_dir() else []
    return sorted(int(path.name) for path in found if is_step(path.name) and exists(path) and path.is_dir())


def is_step(name: str) -> bool:
    """Whether a text is the number of a step, as the folder of a checkpoint is called."""
    return name.isascii() and name.isdecimal() and len(name) < 19 and str(int(name)) == name


def write_checkpoint(
    run: Path,
    step: int,
    generator: Mapping[str, Tensor],
    trainer: Mapping[str, Tensor] | None,
    state: Mapping[str, Any],
) -> None:
    """Write a checkpoint; it appears under its name only when all of it is on the disk.

    Args:
        run: the run folder.
        step: how many steps are done.
        generator: the generator's state.
        trainer: the state of what trains it; None where it is to be used, and not trained on.
        state: plain data beside them; `format`, `step`, `files` and `sha256` are added.

    Raises:
        RunError: it cannot be written; what was there before is as it was.
    """
    final = inside(run, CHECKPOINTS) / str(step)
    _sweep(final.parent)
    with whole_folder(final) as partial:
        tensors = {GENERATOR: generator} if trainer is None else {GENERATOR: generator, TRAINER: trainer}
        for name, values in tensors.items():
            write_tensors(partial / name, values)
        files = {name: _measure(partial / name) for name in tensors}
        content = {**state, "format": FORMAT, "step": step, "files": files}
        write_json(partial / STATE, {**content, "sha256": _own_digest(content)})
        if final.exists():
            final.rename(_old(final))
    _remove(_old(final))


def _old(path: Path) -> Path:
    """Where what has this name is put until it is removed."""
    return path.with_name(f".{path.name}.old")


def _sweep(parent: Path) -> None:
    """Remove what a process that was killed has left unfinished."""
    for path in contents(parent):
        if path.name.startswith(".") and path.suffix in (".partial", ".old"):
            with writing(path):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a folder, or a file or a link that stands where one should."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _measure(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest(path)}


def _own_digest(content: Mapping[str, Any]) -> str:
    plain = json.loads(as_json(content))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_checkpoint(run: Path, step: int) -> Checkpoint:
    """Read a checkpoint's state and verify its files.

    Raises:
        RunError: it is not there, or damaged.
    """
    folder = run / CHECKPOINTS / str(step)
    if not is_file(folder / STATE):
        kept = ", ".join(map(str, checkpoint_steps(run))) or "none"
        raise RunError(
            f"{run} has no whole checkpoint of step {step}: there is no {STATE}; steps that are kept: {kept}"
        )
    state = _read_state(folder)
    for name, measured in state["files"].items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise RunError(f"{path} is missing: {error.strerror}") from error
        if size != measured["bytes"]:
            raise RunError(f"{path} has {size:,} bytes, was written with {measured['bytes']:,}")
        if digest(path) != measured["sha256"]:
            raise RunError(f"{path} is damaged: its SHA-256 is not the one it was written with")
    return Checkpoint(folder=folder, step=step, state=state)


def _read_state(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    state = read_json(path)
    if state.pop("sha256", None) != _own_digest(state):
        raise RunError(f"{path} is damaged: its SHA-256 is not the one it was written with")
    # From here on it is what some version has written.
    if state.get("format") != FORMAT:
        raise RunError(f"{path} has format {state.get('format')}, this version reads {FORMAT}")
    files = state.get("files")
    if not isinstance(files, dict) or set(files) not in ({GENERATOR}, {GENERATOR, TRAINER}):
        raise RunError(f"{path} does not name the files of a checkpoint")
    if not all(_is_measured(value) for value in files.values()):
        raise RunError(f"{path} does not say what files of a checkpoint are")
    if str(state.get("step")) != folder.name:
        raise RunError(f"{path} is of step {state.get('step')}; the folder was renamed")
    spent = state.get("gradient_evaluations")
    if not isinstance(spent, int) or isinstance(spent, bool) or spent < 0:
        raise RunError(f"{path}: gradient_evaluations is {shown(spent)}, expected a whole number")
    seen = state.get("validations", {})
    if not isinstance(seen, dict) or not isinstance(seen.get("best_step"), int | None):
        raise RunError(f"{path} does not say how validations went")
    if not isinstance(state.get("validation_score"), float | int | None):
        raise RunError(f"{path}: validation_score is {state['validation_score']!r}, expected a number")
    return state


def _is_measured(value: Any) -> bool:
    """Whether a value is what `_measure` gives."""
    if not isinstance(value, dict):
        return False
    size, sha256 = value.get("bytes"), value.get("sha256")
    return isinstance(size, int) and not isinstance(size, bool) and isinstance(sha256, str)


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; None where there is none at all. Damaged ones are passed over, and named.

    Raises:
        RunError: there are some, and all are damaged.
    """
    parent = run / CHECKPOINTS
    if exists(parent) and not parent.is_dir():
        raise RunError(f"{parent} is no folder; remove it, and the run starts anew")
    reasons = []
    for step in reversed(checkpoint_steps(run)):
        try:
            found = read_checkpoint(run, step)
        except RunError as error:
            reasons.append(f"the checkpoint of step {step} cannot be used: {error}")
        else:
            if reasons:
                notice(f"{'; '.join(reasons)}; falling back to the one of step {step}")
            return found
    if reasons:
        raise RunError(f"{run} has no checkpoint that is whole: {'; '.join(reasons)}")
    return None


def validation_scores(run: Path) -> dict[int, float]:
    """The validation score of each checkpoint that has one and whose state can be read."""
    found = {}
    for step in checkpoint_steps(run):
        try:
            score = _read_state(run / CHECKPOINTS / str(step)).get("validation_score")
        except RunError:  # whoever wants to use it is told
            continue
        if score is not None:
            found[step] = float(score)
    return found


def early_end(state: Mapping[str, Any], patience: int | None, steps: int) -> str | None:
    """Say why a training ended at a checkpoint before its last step; None where it did not.

    Args:
        state: what the checkpoint keeps beside its tensors.
        patience: `trainer.patience` of the run.
        steps: `trainer.steps` of the run.

    Example:
        >>> early_end({"step": 900, "validations": {"since_best": 2, "best_step": 500}}, 2, 1000)
        'no new best in 2 validations since step 500'
    """
    seen = state.get("validations", {})
    count = seen.get("since_best")
    if patience is None or not isinstance(count, int) or count < patience or state["step"] >= steps:
        return None
    since = "the beginning" if seen.get("best_step") is None else f"step {seen['best_step']}"
    return f"no new best in {quantity(count, 'validation')} since {since}"


def ended_early(run: Path, patience: int | None, steps: int) -> str | None:
    """Say why a run ended before its last step, as its newest checkpoint has it; None where it did not."""
    known = checkpoint_steps(run) if patience is not None else []
    try:
        return early_end(_read_state(run / CHECKPOINTS / str(known[-1])), patience, steps) if known else None
    except RunError:  # whoever wants to use it is told
        return None


def best_step(scores: Mapping[int, float]) -> int | None:
    """The step with the highest validation score, the earlier one of equals.

    Example:
        >>> best_step({250: 0.5, 500: 0.9, 750: 0.9}), best_step({})
        (500, None)
    """
    return min(scores, key=lambda step: (-scores[step], step)) if scores else None


def best_checkpoint(run: Path) -> Checkpoint:
    """The best checkpoint by validation that is whole; damaged ones are passed over, and named.

    Raises:
        RunError: no whole checkpoint has been validated.
    """
    left = validation_scores(run)
    while (step := best_step(left)) is not None:
        try:
            return read_checkpoint(run, step)
        except RunError as error:
            notice(f"the best checkpoint, of step {step}, cannot be used: {error}; taking the next best")
            del left[step]
    raise RunError(f"{run} has no checkpoint with results on validation data")


def remove_checkpoints(run: Path, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the last `keep` and the best one."""
    for step in checkpoint_steps(run)[:-keep]:
        if step != best:
            path = inside(run, CHECKPOINTS) / str(step)
            old = _old(path)
            with writing(path):
                path.rename(old)  # at once: nobody finds half of it under its name
                _remove(old)


def set_damaged_aside(run: Path) -> None:
    """Rename checkpoints that are damaged, so that none of them counts among the last ones, or as the best."""
    for step in checkpoint_steps(run):
        try:
            read_checkpoint(run, step)
        except RunError:
            path = inside(run, CHECKPOINTS) / str(step)
            aside = path.with_name(f"{step}.damaged")
            with writing(aside):
                _remove(aside)
                path.rename(aside)
