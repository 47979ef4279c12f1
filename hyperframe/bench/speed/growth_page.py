"""How a piece of work grows, as a Markdown page and as a picture."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperframe.analysis.plots import COLOURS, new_figure
from hyperframe.bench.speed.work import WAYS
from hyperframe.runtime.files import whole_file
from hyperframe.runtime.memory import MEBIBYTE
from hyperframe.runtime.progress import MISSING, quantity

DIGITS = 3
"""Digits of a time that are shown."""

NARROWEST, MOST_TICKS = 5.0, 8
"""How many times the least value an axis's greatest one is at the least, and how many ticks it has."""

BOUNDS = {"floor_s": "operations alone", "unfused_s": "bytes alone, without caches"}
"""The lines that work is compared with, and how they are named."""


def growth_title(content: Mapping[str, Any]) -> str:
    """Say what was measured, over which key, and where."""
    threads = f", {quantity(content['threads'], 'thread')}" if content["threads"] else ""
    return f"{content['benchmark']} of {content['config']} over {content['over']} on {content['device']}{threads}"


def growth_rows(content: Mapping[str, Any]) -> list[list[str]]:
    """Return the head and a row for each value: the wall time of each way, what it is compared with, and the peaks."""
    ways = list(content["points"][0]["ways"])
    names = [WAYS[way] for way in ways]
    rows = [
        [
            content["over"],
            *(f"{name}, s" for name in names),
            *(f"{name}, s" for name in BOUNDS.values()),
            *(f"{name}, MiB" for name in names),
        ]
    ]
    for point in content["points"]:
        found = [point["ways"][way] for way in ways]
        times = [_time(row and row["wall_s"]) for row in found]
        bounds = [_time(point[name]) for name in BOUNDS]
        rows.append([point["value"], *times, *bounds, *(_memory(row and row["peak_bytes"]) for row in found)])
    return rows


def _time(value: float | None) -> str:
    return MISSING if value is None else f"{value:.{DIGITS}g}"


def _memory(value: int | None) -> str:
    return MISSING if value is None else f"{value / MEBIBYTE:,.0f}"


def growth_markdown(content: Mapping[str, Any], command: Sequence[str]) -> str:
    """Write a page: the table, under which conditions it holds, and the command."""
    title, (head, *rows) = growth_title(content), growth_rows(content)
    origin = [content["machine"], f"torch {content['torch']}"]
    origin += [f"revision {content['revision']}"] if content["revision"] else []
    return "\n".join(
        [
            f"# {title[0].upper()}{title[1:]}",
            "",
            f"Medians of {quantity(content['repeats'], 'call')}; memory is above the process after its imports. "
            "Operations alone: at the rate of a large matrix product; bytes alone: as if every operation read and "
            f"wrote memory, at the rate of a large copy. {MISSING}: does not fit. {', '.join(origin)}.",
            "",
            *(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)),
            "",
            "```text",
            shlex.join(command),
            "```",
            "",
        ]
    )


def draw_growth(path: Path, content: Mapping[str, Any]) -> None:
    """Draw wall time and peak of memory against the values into a PNG file, both axes logarithmic.

    Values that are no positive numbers stand beside each other in their order.

    Raises:
        RunError: the file cannot be written.
    """
    points = content["points"]
    texts = [point["value"] for point in points]
    numbers = [_number(text) for text in texts]
    numeric = all(0 < number < math.inf for number in numbers)
    places = numbers if numeric else list(map(float, range(len(texts))))
    figure = new_figure(11.0, 4.8)
    panels = figure.subplots(1, 2)
    for axes, label, of in zip(panels, ("wall time, s", "peak of memory, MiB"), ("wall_s", "peak_bytes"), strict=True):
        factor = 1 / MEBIBYTE if of == "peak_bytes" else 1.0
        lines = {
            WAYS[way]: [factor * ((point["ways"][way] or {}).get(of) or math.nan) for point in points]
            for way in points[0]["ways"]
        }
        for colour, (name, values) in zip(COLOURS, lines.items(), strict=False):
            axes.plot(places, values, "o-", color=colour, label=name, markersize=5)
        if of == "wall_s":
            for style, (name, words) in zip(("-", ":"), BOUNDS.items(), strict=True):
                lines[words] = [point[name] or math.nan for point in points]
                axes.plot(places, lines[words], style, color="black", alpha=0.6, label=words)
        if numeric:
            axes.set_xscale("log")
        axes.set_xticks(places, texts)
        axes.minorticks_off()
        _log_axis(axes, [value for values in lines.values() for value in values if value > 0])
        axes.set_xlabel(content["over"], parse_math=False)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(growth_title(content), fontsize="medium", parse_math=False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize="small", frameon=False)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _log_axis(axes: Any, values: Sequence[float]) -> None:
    """Make a plot's vertical axis logarithmic, with room for at least two ticks at round numbers."""
    if not values:
        return
    room = max(NARROWEST / (max(values) / min(values)), 1.0) ** 0.5
    axes.set_yscale("log")
    axes.set_ylim(min(values) / (1.2 * room), max(values) * 1.2 * room)
    low, high = axes.get_ylim()
    for digits in ((1, 2, 5), (1,)):
        ticks = [digit * 10.0**power for power in range(-9, 10) for digit in digits]
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) <= MOST_TICKS:
            break
    axes.set_yticks(shown, [f"{tick:,.10g}" for tick in shown])
    axes.tick_params(axis="y", which="minor", left=False, labelleft=False)


def _number(text: str) -> float:
    """Read a number; 0 where a value is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0
