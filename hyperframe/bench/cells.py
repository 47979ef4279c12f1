"""Cells of a comparison: one generator trained from one seed, and what is measured of it."""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from hyperframe.analysis.runner import analyse, chosen_analysis, kept_analysis
from hyperframe.config.choices import plain_choice
from hyperframe.config.dotted_keys import changes
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config
from hyperframe.errors import NotApplicableError, RunError
from hyperframe.metrics import Metric, metrics_of
from hyperframe.networks.sampled import draw_weights
from hyperframe.runs.checkpoints import checkpoint_steps
from hyperframe.runs.comparison import training_seconds
from hyperframe.runs.folder import CONFIG, read_run_config
from hyperframe.runs.loading import load_run
from hyperframe.runs.run import Run
from hyperframe.runtime.files import as_json, from_json, is_file, kept_json, write_json
from hyperframe.runtime.rng import stream
from hyperframe.training.loop import train_run
from hyperframe.training.progress_bar import StepsReporter
from hyperframe.training.resume import resume_run

EVALUATION, COSTS_OF = "evaluation", "costs"
"""Sources of metrics beside the analyses."""

DRAWN, DRAWS = 200, 3
"""How many networks are drawn to see how long that takes, and how often."""

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
        """What was measured."""
        return self.out / "cells" / f"{self.label}-{self.seed}.json"


def check_cell(cell: Cell, registry: Registry) -> None:
    """Check that a cell's folder holds nothing, or a run of its configuration.

    Raises:
        RunError: it is another one's.
    """
    if not is_file(cell.folder / CONFIG):
        return
    there = read_run_config(cell.folder, registry)[1].plain()
    wanted = cell.config.with_absolute_locations().without_pauses().plain()
    for change in changes(there, wanted):
        raise RunError(
            f"{cell.folder} holds a run of other settings ({change}); remove it, or name another folder with --out"
        )


def train_cell(cell: Cell, registry: Registry) -> Run:
    """Train a cell, go on with a training that was interrupted, or load one that is finished.

    Raises:
        HyperframeError: the training fails, or was paused by a signal.
        KeyboardInterrupt: Ctrl-C; a checkpoint is written first.
    """
    reporter = StepsReporter(str(cell), cell.config.trainer.steps)
    if not is_file(cell.folder / CONFIG):
        run = train_run(cell.config, registry, cell.folder, reporter)
    elif max(checkpoint_steps(cell.folder), default=0) == cell.config.trainer.steps:
        run = load_run(cell.folder, registry, cell.config.trainer.device)
    else:
        run = resume_run(cell.folder, {}, registry, reporter)
    if not run.finished:
        raise RunError(f"{cell} was paused at step {run.step}; the same command goes on from there")
    return run


def measure_cell(run: Run, cell: Cell, analyses: Mapping[str, Mapping[str, Any]], registry: Registry) -> dict[str, Any]:
    """Measure a cell, or read what was measured of the same run and with the same options.

    Args:
        run: the trained cell.
        cell: its place.
        analyses: options of each analysis, by name.
        registry: where analyses are looked up.

    Returns:
        `label`, `seed`, `run`; `values`, a list of `source`, `metric` (its declaration) and `value`; `left_out`, for
        analyses that do not apply the reason.

    Raises:
        HyperframeError: an analysis fails.
    """
    chosen = {name: chosen_analysis(name, registry, options) for name, options in analyses.items()}
    key = {"config": cell.config.plain(), "analyses": {name: plain_choice(choice) for name, choice in chosen.items()}}
    key = from_json(as_json(key))
    kept = kept_json(cell.file)
    if kept is not None and kept.get("key") == key:
        return kept
    evaluation = run.evaluate()
    values = [_value(EVALUATION, metric, evaluation) for metric in metrics_of(evaluation)]
    left_out = {}
    for name, options in analyses.items():
        try:
            found = kept_analysis(run, name, registry, options) or analyse(run, name, registry, options)
        except NotApplicableError as error:
            left_out[name] = str(error)
            continue
        values += [_value(name, metric, found) for metric in metrics_of(found)]
    costs = {"ensemble": _costs(run)}
    values += [_value(COSTS_OF, metric, costs) for metric in COSTS if metric.value(costs) is not None]
    content = {
        "key": key,
        "label": cell.label,
        "seed": cell.seed,
        "run": str(cell.folder.relative_to(cell.out)),
        "networks": evaluation["networks"],
        "examples": evaluation["examples"],
        "values": values,
        "left_out": left_out,
    }
    write_json(cell.file, content)
    return content


def _value(source: str, metric: Metric, results: Mapping[str, Any]) -> dict[str, Any]:
    return {"source": source, "metric": metric.plain(), "value": metric.value(results)}


def _costs(run: Run) -> dict[str, float | None]:
    """What the training took, and what it takes to keep and to draw networks."""
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
