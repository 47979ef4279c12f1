"""A comparison of generators as a picture: a panel for each metric that says which way is better."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.analysis.plots import COLOURS, axis_label, new_figure
from hyperframe.bench.cells import COSTS_OF, EVALUATION
from hyperframe.metrics import WORDS, Metric
from hyperframe.runtime.files import whole_file

COLUMNS, LINE = 3, 52
"""Panels beside each other, and letters of a title's line."""


def draw_comparison(path: Path, content: Mapping[str, Any]) -> None:
    """Draw a comparison into a PNG file: for each generator its seeds as points and their mean as a line.

    Raises:
        RunError: the file cannot be written.
    """
    rows = [row for row in content["rows"] if row["metric"]["better"] and row["source"] != COSTS_OF]
    labels = [one["label"] for one in content["generators"]]
    lines = max(1, -(-len(rows) // COLUMNS))
    figure = new_figure(12.0, lines * (0.9 + 0.24 * len(labels)) + 0.4)
    panels = figure.subplots(lines, COLUMNS, sharey=True, squeeze=False)
    for axes in panels.flat[len(rows) :]:
        axes.set_visible(False)
    for axes, row in zip(panels.flat, rows, strict=False):
        _panel(axes, row, content)
    panels[0, 0].set_yticks(range(len(labels)), labels)
    panels[0, 0].invert_yaxis()
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _panel(axes: Any, row: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    metric = Metric(**row["metric"])
    factor = 100.0 if metric.percent else 1.0
    for place, one in enumerate(content["generators"]):
        values = [
            factor * found["value"]
            for cell in one["cells"]
            for found in cell["values"]
            if (found["source"], found["metric"]) == (row["source"], row["metric"])
        ]
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.6, markersize=5)
        if values:
            axes.plot([sum(values) / len(values)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2.5)
    words = WORDS[metric.of] if row["source"] == EVALUATION else "{}"
    arrow = "→ better" if metric.better == "greater" else "← better"
    title = textwrap.fill(f"{axis_label(metric, words)} ({arrow})", LINE)
    axes.set_title(title, fontsize="small", loc="left", parse_math=False)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
