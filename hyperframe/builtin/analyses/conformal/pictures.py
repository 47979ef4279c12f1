"""The picture of the analysis `conformal`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.analysis import COLOURS, keep_picture, new_figure

WHO = {"ensemble": "ensemble", "single": "one network"}

TOLD = 0.1
"""Words are about the α nearest to this."""


def told(found: Mapping[str, Any]) -> int:
    """The place of the α that words are about."""
    return min(range(len(found["alphas"])), key=lambda place: abs(found["alphas"][place] - TOLD))


def coverage_picture(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    """Draw coverage, beside what was asked for, and the mean size of sets or width of intervals, at each α."""
    alphas = found["alphas"]
    places = range(len(alphas))
    order = sorted(places, key=lambda place: -alphas[place])
    series = [(who, method, rows) for who in WHO for method, rows in found[who].items()]
    size = "size" if "size" in series[0][2][0] else "width"
    figure = new_figure(width=9.0, height=4.0)
    left, right = figure.subplots(1, 2)
    for number, (who, method, rows) in enumerate(series):
        shifted = [place + 0.12 * (number - (len(series) - 1) / 2) for place in places]
        errors = [100 * math.hypot(rows[place]["standard_error"], found["deviation"][place]) for place in order]
        form = {"color": COLOURS[number], "marker": "o" if who == "ensemble" else "s", "markersize": 4}
        coverage = [100 * rows[place]["coverage"] for place in order]
        left.errorbar(shifted, coverage, errors, linestyle="", label=f"{WHO[who]}, {method}", capsize=2, **form)
        right.plot(places, [rows[place][size] for place in order], linestyle="-", label=f"{WHO[who]}, {method}", **form)
    for place, own in enumerate(order):
        label = "1 − α" if place == 0 else None
        left.hlines(100 * (1 - alphas[own]), place - 0.4, place + 0.4, color="0.4", linewidth=1, label=label)
    for axes in (left, right):
        axes.set_xticks(list(places), [f"{100 * (1 - alphas[place]):g}" for place in order])
        axes.set_xlabel("1 − α, %")
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("coverage of test examples, %")
    left.legend(frameon=False, fontsize=8)
    right.set_ylabel("mean number of classes in a set" if size == "size" else "mean width of an interval")
    (method, rows), place = next(iter(found["ensemble"].items())), told(found)
    caption = (
        f"Coverage of {found['examples']} test examples, with one deviation of these and of the {found['calibration']} "
        f"calibration examples together, and the mean {size}: at 1 − α = {100 * (1 - alphas[place]):g} % the ensemble "
        f"({method}) covers {100 * rows[place]['coverage']:.1f} % with a mean {size} of {rows[place][size]:.3g}."
    )
    return keep_picture(folder, "coverage.png", figure, title="Coverage and size", caption=caption)
