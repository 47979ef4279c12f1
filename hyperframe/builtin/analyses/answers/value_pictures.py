"""Pictures of answers that are values: predictions beside labels, coverage of intervals, errors and deviations."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor

from hyperframe.analysis import COLOURS, keep_picture, new_figure
from hyperframe.runtime.progress import quantity

PANELS = 4
"""The most values of a label that are drawn."""

BARRED = 300
"""The most examples of which the deviation is drawn."""


@attrs.frozen(kw_only=True, eq=False)
class Points:
    """Points of a picture, one for each example: label, prediction and deviation, [examples, values] each."""

    label: Tensor
    prediction: Tensor
    deviation: Tensor


def value_picture(folder: Path, found: Mapping[str, Any], points: Points) -> dict[str, str]:
    """Draw predictions with their deviation against labels, a panel for each value."""
    label, prediction, deviation = points.label, points.prediction, points.deviation
    count = min(PANELS, label.shape[1])
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure = new_figure(4.4 if count == 1 else 7.0, 3.6 if rows == 1 else 6.8)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for number, axes in enumerate(panels):
        if number >= count:
            axes.set_visible(False)
            continue
        x, y, spread = (of[:, number].numpy() for of in (label, prediction, deviation))
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        axes.plot([low, high], [low, high], color="0.5", linestyle=":", label="prediction = label")
        if len(x) <= BARRED:
            axes.errorbar(x, y, spread, fmt="none", ecolor=COLOURS[0], alpha=0.35, elinewidth=1)
        axes.plot(x, y, "o", color=COLOURS[0], markersize=3, label="± deviation" if len(x) <= BARRED else "examples")
        axes.set(xlabel="label", ylabel="prediction" if count == 1 else f"prediction, value {number + 1}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    caption = (
        f"Predictions of {quantity(found['networks'], 'network')} together, with their deviation, and labels of "
        f"{found['examples']:,} test examples."
    )
    return keep_picture(folder, "predictions.png", figure, title="Predictions and labels", caption=caption)


def coverage_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw how many labels intervals hold against how many they should."""
    levels = [100 * level for level in found["levels"]]
    errors = [2 * math.sqrt(level * (100 - level) / found["examples"]) for level in levels]
    low, high = ([level + sign * error for level, error in zip(levels, errors, strict=True)] for sign in (-1, 1))
    figure = new_figure(4.4, 3.6)
    axes = figure.add_subplot()
    axes.fill_between(levels, low, high, color="0.5", alpha=0.2, label="by chance", lw=0)
    axes.plot([0, 100], [0, 100], color="0.5", linestyle=":")
    axes.plot(
        levels, [100 * held for held in found["coverage"]], "o-", color=COLOURS[0], markersize=4, label="intervals"
    )
    axes.set(xlabel="labels that intervals should hold, %", ylabel="labels that they hold, %")
    axes.set(xlim=(0, 100), ylim=(0, 102))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    caption = (
        f"Labels of {found['examples']:,} test examples within intervals of a normal distribution around the "
        "prediction, before any calibration; grey: two standard errors of what would be right."
    )
    return keep_picture(folder, "coverage.png", figure, title="Coverage of intervals", caption=caption)


def error_picture(folder: Path, points: Points) -> dict[str, str]:
    """Draw residuals against predictions, and their sizes against deviations."""
    label, prediction, deviation = points.label, points.prediction, points.deviation
    count = min(PANELS, label.shape[1])
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    for number in range(count):
        size, place = (label - prediction)[:, number].numpy(), prediction[:, number].numpy()
        style = {"color": COLOURS[number], "markersize": 3, "alpha": 0.7}
        told = f"value {number + 1}" if count > 1 else None
        left.plot(place, size, "o", label=told, **style)
        right.plot(deviation[:, number].numpy(), abs(size), "o", **style)
    left.axhline(0, color="0.5", linestyle=":")
    left.set(xlabel="prediction", ylabel="label − prediction")
    right.set(xlabel="deviation", ylabel="size of the error")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    if count > 1:
        left.legend(frameon=False)
    caption = "Left: residuals of each prediction. Right: errors of the examples of each deviation."
    return keep_picture(folder, "errors.png", figure, title="Residuals, and errors beside deviations", caption=caption)
