"""A grid of configurations: each cell trained as `hyperframe train` does it, then all of them side by side."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hyperframe.bench.cells import check_cell, check_out, is_trained
from hyperframe.bench.grid import GridCell
from hyperframe.bench.processes import run_commands
from hyperframe.bench.recipes import naming
from hyperframe.config.registry import Registry
from hyperframe.errors import STOPPED, RunError, notice
from hyperframe.experiment.build import build_experiment
from hyperframe.runs.comparison import compare, write_picture
from hyperframe.runs.folder import ANALYSES, CONFIG, EVALUATION, RESULTS
from hyperframe.runtime.files import contents, is_file, write_json, writing
from hyperframe.runtime.progress import tell

PICTURE, LOGS = "comparison.png", "logs"
"""In a grid's folder, beside its runs and `results.json`."""

THREADS = "trainer.threads"


def check_sweep(cells: Sequence[GridCell], registry: Registry) -> None:
    """Find what is wrong with cells before any is trained: parts that do not fit together, folders of something else.

    Raises:
        HyperframeError: a cell cannot be trained.
    """
    check_out(cells[0].out)
    for cell in cells:
        check_cell(cell, registry, free=(THREADS,))
    points = {cell.label: cell for cell in cells if not is_done(cell)}
    for label, cell in points.items():
        with naming(label):
            build_experiment(cell.config)


def tell_others(cells: Sequence[GridCell]) -> None:
    """Name the runs in a grid's folder that are no cells of it."""
    others = {path.name for path in contents(cells[0].folder.parent)} - {cell.folder.name for cell in cells}
    if others:
        notice(f"{cells[0].folder.parent} also holds {', '.join(sorted(others))}: no cells of this grid, left out")


def is_done(cell: GridCell) -> bool:
    """Whether a cell is trained and evaluated."""
    return is_trained(cell) and is_file(cell.folder / ANALYSES / EVALUATION / RESULTS)


def state_of(cell: GridCell) -> str:
    """Return "finished", "begun" or "new"."""
    if is_done(cell):
        return "finished"
    return "begun" if is_file(cell.folder / CONFIG) else "new"


def command_of(cell: GridCell, source: str, threads: int | None) -> list[str]:
    """Return the arguments of `hyperframe` that train a cell, or go on with it.

    Args:
        cell: the cell.
        source: the configuration that it changes.
        threads: of the training, where the cell leaves them open and it is new.
    """
    if is_file(cell.folder / CONFIG):
        return ["train", *cell.settings, "--resume", str(cell.folder)]
    own = [f"{THREADS}={threads}"] if threads is not None and cell.config.trainer.threads is None else []
    return ["train", source, *cell.settings, *own, "--out", str(cell.folder)]


def threads_of(jobs: int) -> int | None:
    """The threads of each of so many trainings at a time, which share the cores; None for one, which has all."""
    return None if jobs == 1 else max(1, torch.get_num_threads() // jobs)


def train_cells(
    cells: Sequence[GridCell], source: str, jobs: int, told: Callable[[str, str | None], None]
) -> dict[str, str]:
    """Train cells that are not done, so many at a time, each in a process of its own.

    Args:
        cells: of the grid.
        source: the configuration that they change.
        jobs: how many are trained at a time.
        told: is called with the name of a cell whose training has ended, and with the reason where it failed.

    Returns:
        For cells that failed the reason, by name.

    Raises:
        KeyboardInterrupt: Ctrl-C; all that was trained is saved.
    """
    open_ = [cell for cell in cells if not is_done(cell)]
    failed: dict[str, str] = {}
    done = 0

    def ended(name: str, reason: str | None) -> None:
        nonlocal done
        done += 1
        tell("trainings", done, len(open_))
        if reason is not None:
            failed[name] = reason
        told(name, reason)

    if not open_:
        return failed
    logs = cells[0].out / LOGS
    with writing(logs):
        logs.mkdir(parents=True, exist_ok=True)
    commands = {cell.folder.name: command_of(cell, source, threads_of(jobs)) for cell in open_}
    tell("trainings", 0, len(open_))
    try:
        run_commands(commands, logs, jobs, ended)
    except STOPPED:
        notice("all trainings are saved; the same command goes on with them")
        raise
    return failed


def row_of(cell: GridCell, source: str, jobs: int) -> dict[str, Any]:
    """Describe a cell as it is before it is trained: `cell`, its `label`, `seed`, `run`, `state` and `command`."""
    command = shlex.join(["hyperframe", *command_of(cell, source, threads_of(jobs))])
    row = {"cell": cell.folder.name, "label": cell.label, "seed": cell.seed, "run": str(cell.folder)}
    return {**row, "state": state_of(cell), "command": command}


def compare_sweep(
    cells: Sequence[GridCell],
    own: Sequence[GridCell],
    registry: Registry,
    failed: Mapping[str, str],
    *,
    joined: bool,
) -> dict[str, Any]:
    """Measure all cells that are done side by side, and write `results.json` and the picture.

    That is left to the last one of an array of tasks, and needs two cells. Cells that differ in the seed alone have one
    name.

    Args:
        cells: the grid.
        own: those of this process.
        registry: the components to choose from.
        failed: reasons by the names of cells.
        joined: a line joins the points of the picture, see `hyperframe.runs.comparison.write_picture`.

    Returns:
        What `hyperframe.runs.comparison.compare` gives, without `runs` where nothing was measured; `failed`; `open`,
        sentences about what is missing; and `files`, what was written.
    """
    out, done = cells[0].out, [cell for cell in cells if is_done(cell)]
    missing = [cell for cell in cells if not is_done(cell) and cell.folder.name not in failed]
    open_ = [f"{name} failed: {reason} (see {out / LOGS / f'{name}.txt'})" for name, reason in failed.items()]
    paused = ", ".join(cell.folder.name for cell in missing if cell in own)
    open_ += [f"not finished: {paused}; the same command goes on"] if paused else []
    content: dict[str, Any] = {"runs": [], "failed": dict(failed), "open": open_, "files": []}
    others = [cell for cell in missing if cell not in own]
    if others:
        open_.append(f"cells of other tasks that are not finished: {len(others)}; the last task shows the table")
    elif len(done) < 2:
        open_.append(f"finished cells: {len(done)}; a table needs two")
    else:
        names, device = [cell.label for cell in done], cells[0].config.trainer.device
        content |= compare([cell.folder for cell in done], registry, device=device, names=names)
        files = [out / RESULTS, *_draw(out / PICTURE, content, joined=joined)]
        content["files"] = list(map(str, files))
        write_json(out / RESULTS, content)
    return content


def _draw(path: Path, content: Mapping[str, Any], *, joined: bool) -> list[Path]:
    """Draw the picture, where the task has what it shows; return what was written."""
    try:
        write_picture(path, content, joined=joined)
    except RunError as error:
        notice(str(error))
        return []
    return [path]
