"""Cells of a comparison: one generator trained from one seed, and what is measured of it."""

import math
import statistics
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe.analysis.runner import analyse, chosen_analysis, kept_analysis
from hyperframe.config.choices import plain_choice
from hyperframe.config.dotted_keys import changes
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.errors import HyperframeError, NotApplicableError, RunError
from hyperframe.metrics import Metric, metrics_of
from hyperframe.networks.sampled import draw_weights
from hyperframe.runs.checkpoints import checkpoint_steps, ended_early
from hyperframe.runs.comparison import training_seconds
from hyperframe.runs.folder import CONFIG, free_folder, read_run_config
from hyperframe.runs.loading import load_run
from hyperframe.runs.metrics_log import METRICS
from hyperframe.runs.provenance import as_mapping, read_provenance
from hyperframe.runs.run import Run
from hyperframe.runtime.files import as_json, digest, from_json, is_file, kept_json, write_json
from hyperframe.runtime.rng import stream
from hyperframe.training.loop import train_run
from hyperframe.training.progress_bar import StepsReporter
from hyperframe.training.resume import resume_run

CELLS = "cells"
"""Where what was measured is kept, in a comparison's folder."""

EVALUATION, COSTS_OF = "evaluation", "costs"
"""Sources of metrics beside the analyses."""

DRAWN, DRAWS = 200, 3
"""How many networks are drawn to see how long that takes, and how often."""

FIELDS = {"label", "seed", "run", "networks", "examples", "machine", "torch", "revision", "values", "left_out"}
"""Of a cell, beside its key."""

COSTS = (
    Metric(name="gradient_evaluations", label="gradient evaluations of the training", of="ensemble"),
    Metric(name="parameters", label="numbers stored", better="lower", of="ensemble"),
    Metric(name="wall", label="training, by the clock", unit="s", better="lower", of="ensemble"),
    Metric(name="cpu", label="training, of the CPU", unit="s", better="lower", of="ensemble"),
    Metric(
        name="draw", label=f"drawing {DRAWN} networks, or all that are held", unit="s", better="lower", of="ensemble"
    ),
)


@attrs.frozen(kw_only=True)
class Cell:
    """One training of a comparison.

    Attributes:
        label: of the generator.
        seed: `trainer.seed`.
        config: the complete configuration.
        out: the comparison's folder; the run's folder, and the file with what was measured, lie in it.
    """

    label: str
    seed: int
    config: Config
    out: Path

    def __str__(self) -> str:
        return f"{self.label}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out / "runs" / f"{self.label}-{self.seed}"

    @property
    def file(self) -> Path:
        """The file with what was measured."""
        return self.out / CELLS / f"{self.label}-{self.seed}.json"


def check_out(out: Path) -> None:
    """Raise `RunError` where the folder that a user named for cells is a run or a file."""
    if is_file(out) or is_file(out / CONFIG):
        raise RunError(f"--out: {out} is {'a run' if out.is_dir() else 'a file'}; name an empty folder, or a new one")


def check_cell(cell: Cell, registry: Registry, free: Collection[str] = ()) -> None:
    """Check that a cell's folder holds nothing, or a run of its configuration.

    Args:
        cell: the cell.
        registry: where components are looked up.
        free: keys that may differ.

    Raises:
        RunError: it is another one's.
    """
    if not is_file(cell.folder / CONFIG):
        with _advising(cell):
            free_folder(cell.folder, cell.config)
        return
    with _advising(cell):
        there = read_run_config(cell.folder, registry)[1].plain()
    for change in changes(there, cell.config.without_pauses().plain()):
        if change.partition(":")[0] not in free:
            raise RunError(
                f"{cell.folder} holds a run of other settings ({change}); remove it, or name another folder with --out"
            )


@contextmanager
def _advising(cell: Cell) -> Iterator[None]:
    """Say what helps where a run's folder cannot be read."""
    try:
        yield
    except HyperframeError as error:
        raise RunError(
            f"{error}; where nothing else helps, remove {cell.folder}, and {cell} is trained anew"
        ) from error


def is_trained(cell: Cell) -> bool:
    """Whether all steps of a cell are done, or its training has ended early."""
    if not is_file(cell.folder / CONFIG):
        return False
    options, done = cell.config.trainer, max(checkpoint_steps(cell.folder), default=0)
    return done == options.steps or ended_early(cell.folder, options.patience, options.steps) is not None


def train_cell(cell: Cell, registry: Registry) -> Run:
    """Train a cell, go on with a training that was interrupted, or load one that is finished.

    Raises:
        HyperframeError: the training fails, or pauses since its configuration says so.
        KeyboardInterrupt: Ctrl-C; a checkpoint is written first.
    """
    reporter = StepsReporter(str(cell), cell.config.trainer.steps)
    if not is_file(cell.folder / CONFIG):
        run = train_run(cell.config, registry, cell.folder, reporter)
    elif is_trained(cell):
        with _advising(cell):
            run = load_run(cell.folder, registry, cell.config.trainer.device)
    else:
        run = resume_run(cell.folder, cell.config.pauses, registry, reporter)
    if not run.finished:
        raise RunError(f"{cell} has done {run.step} steps; the same command goes on from there")
    return run


def measure_cell(run: Run, cell: Cell, analyses: Mapping[str, Mapping[str, Any]], registry: Registry) -> dict[str, Any]:
    """Measure a cell, or read what was measured of the same run and with the same options.

    Args:
        run: the trained cell.
        cell: its place.
        analyses: options of each analysis, by name.
        registry: where analyses are looked up.

    Returns:
        `label`, `seed`, `run`, `networks`, `examples`; of the training `machine`, `torch` and `revision`; `values`, a
        list of `source`, `metric` (its declaration) and `value`, those that are finite; `left_out`, for analyses that
        do not apply the reason.

    Raises:
        HyperframeError: an analysis fails.
    """
    key = from_json(as_json(_key(run, cell, analyses, registry)))
    kept = kept_json(cell.file)
    if kept is not None and kept.get("key") == key and kept.keys() >= FIELDS:
        return kept
    evaluation = run.evaluate()
    found = {EVALUATION: evaluation}
    left_out = {}
    for name, options in analyses.items():
        try:
            found[name] = kept_analysis(run, name, registry, options) or analyse(run, name, registry, options)
        except NotApplicableError as error:
            left_out[name] = str(error)
    found[COSTS_OF] = {"ensemble": _costs(run), "metrics": [metric.plain() for metric in COSTS]}
    values = [_value(name, metric, results) for name, results in found.items() for metric in metrics_of(results)]
    content = {
        "key": key,
        "label": cell.label,
        "seed": cell.seed,
        "run": str(cell.folder.relative_to(cell.out)),
        "networks": evaluation["networks"],
        "examples": evaluation["examples"],
        **origin_of(run),
        "values": [one for one in values if one["value"] is not None and math.isfinite(one["value"])],
        "left_out": left_out,
    }
    write_json(cell.file, content)
    return content


def origin_of(run: Run) -> dict[str, Any]:
    """Return `machine`, `torch` and `revision` of a run's training; None where these are not known."""
    provenance = read_provenance(run.folder)
    environment = as_mapping(provenance.get("environment"))
    return {
        "machine": environment.get("processor" if environment.get("device") == "cpu" else "hardware"),
        "torch": environment.get("torch"),
        "revision": provenance.get("revision"),
    }


def _key(run: Run, cell: Cell, analyses: Mapping[str, Mapping[str, Any]], registry: Registry) -> dict[str, Any]:
    """All that a cell's figures depend on; of the training its log as well, which has its times."""
    chosen = {name: chosen_analysis(name, registry, options) for name, options in analyses.items()}
    return {
        "config": cell.config.plain(),
        "training": digest(run.folder / METRICS),
        "analyses": {
            name: {"version": choice.registered.source.version, **plain_choice(choice)}
            for name, choice in chosen.items()
        },
    }


def _value(source: str, metric: Metric, results: Mapping[str, Any]) -> dict[str, Any]:
    return {"source": source, "metric": metric.plain(), "value": metric.value(results)}


def _costs(run: Run) -> dict[str, float | None]:
    """Measure what the training took, and what it takes to keep and to draw networks."""
    wall, cpu = training_seconds(run.folder, run.step)
    return {
        "gradient_evaluations": run.gradient_evaluations,
        "parameters": sum(value.numel() for value in run.experiment.generator.state_dict().values()),
        "wall": wall,
        "cpu": cpu,
        "draw": _seconds_to_draw(run),
    }


def _seconds_to_draw(run: Run) -> float:
    """The median of a few times."""
    generator, device = run.experiment.generator, run.experiment.device
    count, seconds = generator.at_most(DRAWN), []
    for draw in range(DRAWS):
        began = time.perf_counter()
        draw_weights(generator, count, stream(draw, "probe", device))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
