"""Pictures of the analysis `ensembles`: how accuracy, likelihood and calibration, or a task's own metrics, grow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hyperframe import Metric
from hyperframe.analysis import COLOURS, keep_picture, new_figure
from hyperframe.analysis.ensemble_metrics import RULES
from hyperframe.analysis.plots import axis_label, size_axis
from hyperframe.runtime.progress import quantity

WORDS = {"majority": "majority vote", "mean_probability": "mean probability", "most_confident": "most confident member"}


def _column(values: Sequence[Mapping[str, Any]], name: str, part: str = "mean", factor: float = 1.0) -> list[float]:
    return [factor * one[name][part] for one in values]


def accuracy_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw the accuracy against the size, for each rule."""
    sizes, single = found["sizes"], found["single"]
    figure = new_figure(4.4, 3.5)
    axes = figure.add_subplot()
    for colour, rule in zip(COLOURS, RULES, strict=False):
        values = found["ensembles"][rule]
        mean, std = (torch.tensor(_column(values, "accuracy", part, 100)) for part in ("mean", "std"))
        axes.plot(sizes, mean, "o-", color=colour, markersize=4, label=WORDS[rule])
        axes.fill_between(sizes, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(100 * single["accuracy"]["mean"], color="0.4", linestyle=":", label="one network, mean")
    size_axis(axes, sizes)
    axes.set_ylabel("test accuracy, %")
    axes.legend(frameon=False)
    gain = 100 * (found["ensembles"]["majority"][-1]["accuracy"]["mean"] - single["accuracy"]["mean"])
    caption = (
        f"Accuracy of ensembles as they grow, mean ± deviation over {quantity(found['draws'], 'draw')}: the majority "
        f"vote of {sizes[-1]} is {gain:.2f} points above a single network."
    )
    return keep_picture(folder, "accuracy.png", figure, title="Accuracy as the ensemble grows", caption=caption)


def calibration_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw NLL and calibration error against the size, before and after temperature scaling."""
    sizes, values = found["sizes"], found["ensembles"]["mean_probability"]
    figure = new_figure(width=9.0, height=4.0)
    for place, (name, words, factor) in enumerate(
        (("nll", "NLL, nats", 1.0), ("ece", "calibration error, %", 100.0)), 1
    ):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(sizes, _column(values, name, factor=factor), "o-", color=COLOURS[0], markersize=4, label="as it is")
        scaled = _column(values, f"calibrated_{name}", factor=factor)
        axes.plot(sizes, scaled, "s--", color=COLOURS[1], markersize=4, label="at the best temperature")
        size_axis(axes, sizes)
        axes.set_ylabel(words)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    before, after = (values[-1][name]["mean"] for name in ("nll", "calibrated_nll"))
    caption = (
        f"Log-likelihood and calibration error of the mean probabilities: with {sizes[-1]} networks the NLL is "
        f"{before:.4f}, and {after:.4f} at the temperature that is best on validation data."
    )
    return keep_picture(folder, "calibration.png", figure, title="Calibration as the ensemble grows", caption=caption)


def growth_pictures(folder: Path, found: Mapping[str, Any], metrics: Sequence[Metric]) -> list[dict[str, str]]:
    """Draw each metric of the ensemble against the size, beside that of one network where it is of the same."""
    return [_growth_picture(folder, f"growth-{number}.png", found, metric) for number, metric in enumerate(metrics, 1)]


def _growth_picture(folder: Path, file: str, found: Mapping[str, Any], metric: Metric) -> dict[str, str]:
    sizes, values, factor = found["sizes"], found["growth"][metric.name], 100.0 if metric.percent else 1.0
    mean, std = (factor * torch.tensor([one[part] for one in values]).numpy() for part in ("mean", "std"))
    figure = new_figure(4.4, 3.5)
    axes = figure.add_subplot()
    axes.plot(sizes, mean, "o-", color=COLOURS[0], markersize=4, label="ensemble")
    axes.fill_between(sizes, mean - std, mean + std, color=COLOURS[0], alpha=0.15, linewidth=0)
    single = found["single"].get(metric.mean_of)
    if single is not None:
        axes.axhline(factor * single["mean"], color="0.4", linestyle=":", label="one network, mean")
    size_axis(axes, sizes)
    axes.set_ylabel(axis_label(metric))
    axes.legend(frameon=False)
    first, last = (metric.shown(values[place]["mean"]) for place in (0, -1))
    caption = (
        f"{metric.title} as the ensemble grows, mean ± deviation over {quantity(found['draws'], 'draw')}: {first} with "
        f"{sizes[0]}, {last} with {sizes[-1]} networks."
    )
    title = f"{metric.title} as the ensemble grows"
    return keep_picture(folder, file, figure, title=title, caption=caption)
