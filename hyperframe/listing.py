"""Runs in a folder, with their state, as figures: read from what lies there, without building anything."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperframe.checkpoints import checkpoint_steps
from hyperframe.errors import ConfigError, RunError
from hyperframe.files import exists, is_file
from hyperframe.folder import CONFIG, is_claimed
from hyperframe.metrics import read_metrics
from hyperframe.overrides import read_yaml
from hyperframe.taskmetrics import first_metric, metrics_of


def list_runs(parent: Path) -> list[dict[str, Any]]:
    """Describe all runs that lie in a folder, or the folder itself where it is a run, by name.

    Returns:
        For each run `run` (its folder), `state`, `step` (of the last checkpoint), `steps`, `target`, `task`, and of
        the last validation the first metric that its task declares of single networks, under `network`, and of all
        together, under `ensemble`: each the fields of a `hyperframe.Metric` and its `value`. None where it is not
        known. The state is "running", "finished", "paused" (stopped before its last step, and can be resumed),
        "failed", or "damaged" with the reason under `reason`.

    Raises:
        RunError: there is no such folder.
    """
    if not exists(parent) or not parent.is_dir():
        raise RunError(f"there is no folder {parent}")
    try:
        return [_describe(folder) for folder in _folders(parent)]
    except OSError as error:
        raise RunError(f"{parent} cannot be read: {error.strerror}") from error


def _folders(parent: Path) -> Iterator[Path]:
    if is_file(parent / CONFIG):
        yield parent
        return
    yield from (path for path in sorted(parent.iterdir()) if path.is_dir() and is_file(path / CONFIG))


def _describe(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"run": str(folder), "state": "damaged"}
    row |= dict.fromkeys(("step", "steps", "target", "task", "network", "ensemble", "reason"))
    try:
        config = read_yaml(folder / CONFIG)
        row["steps"] = int(_at(config, "trainer", "steps"))
        row["target"], row["task"] = (str(_at(config, key, "name")) for key in ("target", "task"))
        steps = checkpoint_steps(folder)
        lines = list(read_metrics(folder))
    except (ConfigError, OSError, TypeError, ValueError, OverflowError) as error:
        return row | {"reason": str(error)}
    row["step"] = steps[-1] if steps else 0
    last: dict[str, Any] = {}
    for line in lines:
        last = line
        figures = line.get("validation")
        if isinstance(figures, Mapping):
            row |= {of: _first(figures, of) for of in ("network", "ensemble")}
    if is_claimed(folder):
        row["state"], row["step"] = "running", max(row["step"], last.get("step", 0))
    elif "failed" in last:
        row["state"], row["reason"] = "failed", str(last["failed"])
    else:
        row["state"] = "finished" if row["step"] >= row["steps"] else "paused"
    return row


def _first(figures: Mapping[str, Any], of: str) -> dict[str, Any] | None:
    """The first metric of these with its value; None where the line does not say what its figures are."""
    try:
        metric = first_metric(metrics_of(figures), of)
        value = None if metric is None else metric.value(figures)
    except (TypeError, ValueError, OverflowError):  # a line that was changed by hand
        return None
    return None if metric is None or value is None else {**metric.plain(), "value": value}


def _at(content: Mapping[str, Any], *keys: str) -> Any:
    """A value some keys down, or None."""
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
