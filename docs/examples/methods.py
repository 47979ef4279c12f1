"""The examples' common parts: the methods that they compare, at one budget, and how curves are kept and shown."""

import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import Tensor

import hyperframe as hf

BUDGET = {
    "target": "mlp",
    "target.hidden": [64],
    "trainer.networks": 16,
    "trainer.batch_size": 32,
    "trainer.steps": 200,
    "trainer.device": "cpu",
    "trainer.threads": 1,
    "trainer.checkpoint_every": 1_000_000,
    "evaluation.every": 1_000_000,
    "evaluation.networks": 16,
}
"""Of every training: 16 networks on 32 examples each in 200 steps. A method may share these out in another way."""

HELD = {"diversity": "none", "trainer.rate": 1e-2}
METHODS: dict[str, dict[str, Any]] = {
    "modes": {"generator": {"name": "modes", "modes": 8}, "trainer.rate": 1e-2, "objective.lambda": 30},
    "hypernetwork": {"generator": "hypernetwork"},
    "deep ensemble": {"generator": {"name": "direct", "networks": 16}, **HELD},
    "one network": {
        "generator": {"name": "direct", "networks": 1},
        **{**HELD, "trainer.networks": 1, "trainer.batch_size": 16 * 32, "evaluation.networks": 1},
    },
}
METHODS |= {
    f"{method} with {name}": {**METHODS[method], **settings}
    for method in ("modes", "deep ensemble")
    for name, settings in (("priors", {"prior.functions": 8}), ("bootstrap", {"objective.bootstrap": "exponential"}))
}
"""Settings of each method, over those of `BUDGET`."""


def networks_of(
    method: str, data: Mapping[str, Tensor], count: int, seed: int, overrides: Mapping[str, Any]
) -> tuple[hf.Networks, int]:
    """Train a method on data in memory and draw networks, as many as asked for or as it holds.

    Returns:
        The networks, and the gradient evaluations that the training took.
    """
    settings = {**BUDGET, **METHODS[method], "trainer.seed": seed, **overrides}
    with tempfile.TemporaryDirectory() as folder:  # nothing of the run is needed but its networks
        run = hf.train("digits_hypernetwork", settings, data=data, out=Path(folder) / "run")
        return run.sample(run.experiment.generator.at_most(count), seed), run.gradient_evaluations


def kept(folder: Path, name: str, seed: int, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The results of `measure`, read from the folder where that has them already."""
    file = folder / f"{name.replace(' ', '_')}-{seed}.json"
    if not file.is_file():
        found = measure()
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def mean_and_interval(values: Sequence[float], digits: int) -> str:
    """Mean and 95 % t interval of the values of several seeds, as a cell of a table."""
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def draw_curves(
    file: Path, x: Sequence[float], curves: Mapping[str, Sequence[Sequence[float]]], labels: tuple[str, str]
) -> None:
    """Draw for each name the mean curve over seeds, and the band from the least to the greatest."""
    figure = hf.analysis.new_figure()
    axes = figure.add_subplot()
    for number, (name, of_seeds) in enumerate(curves.items()):
        values = torch.tensor(of_seeds)
        colour = hf.analysis.COLOURS[number % len(hf.analysis.COLOURS)]
        axes.plot(x, values.mean(0), color=colour, label=name)
        axes.fill_between(x, values.amin(0), values.amax(0), color=colour, alpha=0.12, linewidth=0)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)
