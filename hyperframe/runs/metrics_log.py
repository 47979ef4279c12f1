"""The measurements of a training: `metrics.jsonl`, always, and TensorBoard's files where it is installed.

A line of `metrics.jsonl` holds the step and the means since the last line, or the step and the results of a validation,
or the step and why the training failed.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hyperframe.errors import RunError, brief, notice
from hyperframe.runtime.files import as_json, check_size, exists, from_json, is_file, reading, whole_file, writing
from hyperframe.runtime.links import inside

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
LONGEST_LINE = 1 << 20
LARGEST = 1 << 30
"""Bytes of a run's metrics at most: those of two million lines."""
MOST_BROKEN = 10_000
"""Lines that are none, at most; a process that is killed leaves one."""


class MetricsLog:
    """Appends to a run's metrics.

    Args:
        run: the run folder.
        after: the step at which a run goes on; lines of later steps, and a line that was cut short, are dropped.
    """

    def __init__(self, run: Path, after: int = 0) -> None:
        self._path = inside(run, METRICS)
        if exists(self._path) and not is_file(self._path):
            raise RunError(f"{self._path} is no file; remove it")
        if is_file(self._path):
            lines = (line for line in read_metrics(run) if line["step"] <= after and "failed" not in line)
            with whole_file(self._path) as partial, partial.open("w", encoding="utf-8") as file:
                file.writelines(as_json(line) + "\n" for line in lines)
        with writing(self._path):
            # Without a buffer nothing is left to be written where the disk is full.
            self._file = self._path.open("ab", buffering=0)
        self._board = _tensorboard(run, after)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        if self._board is not None:
            try:
                self._board.close()
            except OSError as error:
                notice(f"TensorBoard's files are not complete: {error}")

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append the means of the steps since the last time."""
        self._append({"step": step, **metrics})
        self._show(step, "train", metrics)

    def validation(self, step: int, results: Mapping[str, Any]) -> None:
        """Append the results of a validation."""
        self._append({"step": step, "validation": results})
        self._show(step, "validation", results)

    def failed(self, step: int, reason: str) -> None:
        """Append why the training cannot go on."""
        self._append({"step": step, "failed": reason})

    def flush(self) -> None:
        """Have the lines on the disk."""
        with writing(self._path):
            os.fsync(self._file.fileno())

    def _append(self, content: Mapping[str, Any]) -> None:
        left = memoryview((as_json(content) + "\n").encode())
        with writing(self._path):
            while left:
                left = left[self._file.write(left) :]

    def _show(self, step: int, group: str, results: Mapping[str, Any]) -> None:
        if self._board is None:
            return
        try:
            for name, value in _numbers(group, results):
                self._board.add_scalar(name, value, step)
        except OSError as error:
            notice(f"TensorBoard's files are not written any more: {brief(error)}")
            self._board = None


def _numbers(path: str, results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """All numbers of nested mappings, with their paths."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{path}/{name}", value)
        elif isinstance(value, int | float):
            yield f"{path}/{name}", value


def read_metrics(run: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's metrics; what is no line, as when a process was killed in writing it, is passed over.

    Raises:
        RunError: they cannot be read, or are larger than any training writes.
    """
    path = run / METRICS
    if not is_file(path):
        return
    with reading(path), path.open("rb") as file:
        check_size(path, LARGEST)
        broken = 0
        while line := file.readline(LONGEST_LINE):
            content = _as_line(line)
            if content is not None:
                yield content
                continue
            broken += 1
            if broken > MOST_BROKEN:
                raise RunError(f"{path} is damaged: more than {MOST_BROKEN:,} of its lines are no results of a step")


def _as_line(text: bytes) -> dict[str, Any] | None:
    """Read a line of metrics; None where it is none."""
    try:
        content = from_json(text.decode("utf-8"))
    except ValueError:
        return None
    step = content.get("step")
    return content if isinstance(step, int) and not isinstance(step, bool) else None


def _tensorboard(run: Path, after: int) -> Any:
    """TensorBoard's writer, or None where it is not installed; what it has of later steps is hidden."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (an extra, and slow to import)

        return SummaryWriter(str(inside(run, TENSORBOARD)), purge_step=after + 1)
    except (ImportError, OSError, RunError) as error:
        notice(f"TensorBoard's files are not written: {error}")
        return None
