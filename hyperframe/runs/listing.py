"""Runs in a folder, with their state, as results: read from what lies there, without building anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.config.overrides import read_yaml
from hyperframe.errors import HyperframeError, RunError
from hyperframe.metrics import first_metric, metrics_of
from hyperframe.options import shown
from hyperframe.runs.checkpoints import checkpoint_steps, ended_early
from hyperframe.runs.folder import CONFIG, is_claimed
from hyperframe.runs.metrics_log import read_metrics
from hyperframe.runtime.files import contents, exists, is_file


def list_runs(parent: Path) -> list[dict[str, Any]]:
    """Describe all runs that lie in a folder, or the folder itself where it is a run, by name.

    Returns:
        For each run `run` (its folder), `state`, `step` (of the last checkpoint), `steps`, `target`, `task`, and of
        the last validation the first metric that its task declares of single networks, under `network`, and of all
        together, under `ensemble`: each the fields of a `hyperframe.Metric` and its `value`. None where it is not
        known. The state is "running", "finished", "paused" (stopped before its last step, and can be resumed),
        "failed", or "damaged"; `reason` says why it failed, is damaged, or ended before its last step.

    Raises:
        RunError: there is no such folder, or it cannot be read.
    """
    if not exists(parent) or not parent.is_dir():
        raise RunError(f"there is no folder {parent}")
    if is_file(parent / CONFIG):
        return [_describe(parent)]
    rows = [_describe(folder) for folder in contents(parent) if _may_be_run(folder)]
    return [row for row in rows if exists(Path(row["run"]))]  # one may have been removed meanwhile


def _may_be_run(folder: Path) -> bool:
    """Whether a folder is a run, as far as may be known."""
    try:
        return (folder / CONFIG).is_file()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def _describe(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"run": str(folder), "state": "damaged"}
    row |= dict.fromkeys(("step", "steps", "target", "task", "network", "ensemble", "reason"))
    try:
        return row | _read_run(folder)
    except HyperframeError as error:
        return row | {"reason": str(error)}


def _read_run(folder: Path) -> dict[str, Any]:
    """Read what the files of a run say of it."""
    config = read_yaml(folder / CONFIG)
    every, known = _at(config, "trainer", "steps"), checkpoint_steps(folder)
    if not isinstance(every, int) or isinstance(every, bool):
        raise RunError(f"{folder / CONFIG}: trainer.steps: expected a whole number, but got {shown(every)}")
    row: dict[str, Any] = {"step": known[-1] if known else 0, "steps": every}
    row |= {key: str(_at(config, key, "name")) for key in ("target", "task")}
    last: dict[str, Any] = {}
    for line in read_metrics(folder):
        last = line
        results = line.get("validation")
        if isinstance(results, Mapping):
            row |= {of: _first(results, of) for of in ("network", "ensemble")}
    if is_claimed(folder):
        return row | {"state": "running", "step": max(row["step"], last.get("step", 0))}
    if "failed" in last:
        return row | {"state": "failed", "reason": str(last["failed"])}
    patience = _at(config, "trainer", "patience")
    ended = ended_early(folder, patience if isinstance(patience, int) else None, every)
    if ended is not None:
        return row | {"state": "finished", "reason": f"ended early at step {row['step']}: {ended}"}
    return row | {"state": "finished" if row["step"] >= every else "paused"}


def _first(results: Mapping[str, Any], of: str) -> dict[str, Any] | None:
    """The first metric of these with its value; None where the line does not say what its results are."""
    try:
        metric = first_metric(metrics_of(results), of)
        value = None if metric is None else metric.value(results)
    except (TypeError, ValueError, OverflowError):  # a line that was changed by hand
        return None
    return None if metric is None or value is None else {**metric.plain(), "value": value}


def _at(content: Mapping[str, Any], *keys: str) -> Any:
    """A value some keys down, or None."""
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
