"""Pictures, tables and interactive elements that an analysis writes, and what a report must know to show them.

An analysis lists them under `pictures`, `tables` and `interactive` of its results. Under `highlights`, a mapping of
labels to texts, it puts the results that matter most. All four keys are optional.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hyperframe.metrics import Metric
from hyperframe.runs.folder import RESULTS
from hyperframe.runtime.files import whole_file, write_json

Kind = Literal["scatter", "lines", "grid"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Colours of lines and points, in order; colour-blind readers can tell them apart (M. Okabe, K. Ito 2008)."""

DOTS_PER_INCH = 130
"""Of the pictures of a report."""


def new_figure(width: float = 7.0, height: float = 4.5) -> Any:
    """Return an empty matplotlib figure with a white background; width and height are in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (takes a second, and only pictures need it)

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def size_axis(axes: Any, sizes: Sequence[int]) -> None:
    """Make a matplotlib plot's horizontal axis the number of networks in an ensemble, with a tick at each size."""
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("networks in the ensemble")
    axes.spines[["top", "right"]].set_visible(False)


def axis_label(metric: Metric, words: str = "{}") -> str:
    """Return the label of an axis with a metric's values: its label in some words, at {}, then percent or its unit.

    Example:
        >>> axis_label(Metric(name="accuracy", percent=True), "test {}"), axis_label(Metric(name="angle", unit="°"))
        ('test accuracy, %', 'angle, °')
    """
    unit = "%" if metric.percent else metric.unit
    return words.format(metric.label) + (f", {unit}" if unit else "")


def keep_picture(folder: Path, file: str, figure: Any, *, title: str, caption: str) -> dict[str, str]:
    """Write a figure as PNG into an analysis' folder.

    Args:
        folder: of the analysis.
        file: a name that ends in .png.
        figure: a matplotlib figure.
        title: a few words.
        caption: one sentence: what the picture shows, and the number that matters.

    Returns:
        An entry for the analysis' `pictures`.
    """
    with whole_file(folder / file) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH)
    return {"file": file, "title": title, "caption": caption}


def make_table(
    columns: Sequence[str], rows: Sequence[Sequence[float | str | None]], *, title: str, caption: str
) -> dict[str, Any]:
    """Make a table of numbers and texts; a cell that is None stays empty.

    Args:
        columns: their headings.
        rows: for each a value in each column.
        title: a few words.
        caption: one sentence.

    Returns:
        An entry for the analysis' `tables`.

    Raises:
        ValueError: a row has not as many values as there are columns.

    Example:
        >>> make_table(["example", "value"], [[7, 0.5]], title="Values", caption="There is one.")["rows"]
        [[7, 0.5]]
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"table '{title}': a row does not have one value for each of {len(columns)} columns")
    return {"title": title, "caption": caption, "columns": list(columns), "rows": [list(row) for row in rows]}


def keep_scatter(
    folder: Path, file: str, series: Mapping[str, Mapping[str, Any]], *, title: str, caption: str
) -> dict[str, str]:
    """Write points for an interactive scatter plot, in which a reader chooses a series and two of its axes.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        series: for each name `points` [points][axes] and `axes`, a label for each axis.
        title: a few words.
        caption: one sentence.

    Returns:
        An entry for the analysis' `interactive`.

    Raises:
        ValueError: a point does not have a number for each axis; or the file cannot have this name.
    """
    content = {name: {"points": _plain(of["points"]), "axes": list(of["axes"])} for name, of in series.items()}
    for name, of in content.items():
        if any(len(point) != len(of["axes"]) for point in of["points"]):
            raise ValueError(f"{file}: a point of '{name}' does not have one number for each axis of the series")
    return _keep(folder, file, "scatter", {"series": content}, title, caption)


def keep_lines(
    folder: Path,
    file: str,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    labels: tuple[str, str],
    title: str,
    caption: str,
) -> dict[str, str]:
    """Write lines for an interactive plot, with a slider along x that shows the values of all lines at one place.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        x: places along the axis.
        lines: for each name its values at these places.
        labels: of the two axes.
        title: a few words.
        caption: one sentence.

    Returns:
        An entry for the analysis' `interactive`.

    Raises:
        ValueError: a line has not as many values as the axis has places; or the file cannot have this name.
    """
    content = {
        "x": _plain(x),
        "lines": {name: _plain(values) for name, values in lines.items()},
        "labels": list(labels),
    }
    for name, values in content["lines"].items():
        if len(values) != len(content["x"]):
            raise ValueError(f"{file}: the line '{name}' has {len(values)} values for {len(content['x'])} places")
    return _keep(folder, file, "lines", content, title, caption)


def keep_grid(
    folder: Path,
    file: str,
    x: Sequence[float],
    y: Sequence[float],
    values: Sequence[Sequence[float]],
    *,
    labels: tuple[str, str, str],
    marks: Mapping[str, tuple[float, float]],
    title: str,
    caption: str,
) -> dict[str, str]:
    """Write values on a grid for an interactive map: colours, and the numbers at the place a reader points to.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        x: places along the first axis.
        y: places along the second one.
        values: [y][x].
        labels: of the two axes and of the values.
        marks: names and places of points to mark; may be empty.
        title: a few words.
        caption: one sentence.

    Returns:
        An entry for the analysis' `interactive`.

    Raises:
        ValueError: the values are not [y][x]; or the file cannot have this name.
    """
    rows = _plain(values)
    if len(rows) != len(y) or any(len(row) != len(x) for row in rows):
        raise ValueError(f"{file}: the values of a grid are a row of {len(x)} for each of {len(y)} places of y")
    content = {
        "x": _plain(x),
        "y": _plain(y),
        "values": rows,
        "labels": list(labels),
        "marks": {name: list(place) for name, place in marks.items()},
    }
    return _keep(folder, file, "grid", content, title, caption)


def _plain(values: Any) -> Any:
    """Turn sequences, arrays or tensors of numbers into lists of plain numbers."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, Sequence) and not isinstance(values, str):
        return [_plain(value) for value in values]
    return values


def _keep(folder: Path, file: str, kind: Kind, content: Mapping[str, Any], title: str, caption: str) -> dict[str, str]:
    if not file.endswith(".json") or file == RESULTS:
        raise ValueError(f"'{file}': the name of an interactive element ends in .json, and is not {RESULTS}")
    write_json(folder / file, content)
    return {"file": file, "kind": kind, "title": title, "caption": caption}
