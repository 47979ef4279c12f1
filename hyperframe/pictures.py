"""Pictures that analyses make, and what a report needs to know of them.

An analysis lists them under `pictures` and `interactive` of what it returns; `highlights`, a mapping of words to texts,
are the figures that matter. None of these keys must be there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hyperframe.files import whole_file, write_json

Kind = Literal["scatter", "lines", "grid"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Of lines and points, in their order; told apart by people who are colour-blind (M. Okabe, K. Ito 2008)."""


def new_figure(width: float = 7.0, height: float = 4.5) -> Any:
    """An empty matplotlib figure on white, of a size in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (takes a second, and only pictures need it)

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def keep_picture(folder: Path, file: str, figure: Any, *, title: str, says: str) -> dict[str, str]:
    """Write a figure as PNG into an analysis' folder.

    Args:
        folder: of the analysis.
        file: a name that ends in .png.
        figure: a matplotlib figure.
        title: a few words.
        says: one sentence: what the picture shows, and the number that matters.

    Returns:
        What belongs into the analysis' `pictures`.
    """
    with whole_file(folder / file) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return {"file": file, "title": title, "says": says}


def keep_scatter(
    folder: Path, file: str, series: Mapping[str, Mapping[str, Any]], *, title: str, says: str
) -> dict[str, str]:
    """Write points that a reader can turn over: he chooses a series and two of its axes.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        series: for each name `points` [points][axes] and `axes`, a label for each.
        title: a few words.
        says: one sentence.
    """
    return _keep(folder, file, "scatter", {"series": dict(series)}, title, says)


def keep_lines(
    folder: Path,
    file: str,
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    labels: tuple[str, str],
    title: str,
    says: str,
) -> dict[str, str]:
    """Write lines over one axis, along which a reader moves a slider that shows all values there.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        x: places along the axis.
        lines: for each name its values there.
        labels: of the two axes.
        title: a few words.
        says: one sentence.
    """
    content = {"x": list(x), "lines": {name: list(values) for name, values in lines.items()}, "labels": list(labels)}
    return _keep(folder, file, "lines", content, title, says)


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
    says: str,
) -> dict[str, str]:
    """Write values over a plane, which a reader sees as colours and, where he points, as numbers.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        x: places along the first axis.
        y: places along the second one.
        values: [y][x].
        labels: of the two axes and of the values.
        marks: points of the plane that have a name.
        title: a few words.
        says: one sentence.
    """
    content = {
        "x": list(x),
        "y": list(y),
        "values": [list(row) for row in values],
        "labels": list(labels),
        "marks": {name: list(place) for name, place in marks.items()},
    }
    return _keep(folder, file, "grid", content, title, says)


def _keep(folder: Path, file: str, kind: Kind, content: Mapping[str, Any], title: str, says: str) -> dict[str, str]:
    write_json(folder / file, content)
    return {"file": file, "kind": kind, "title": title, "says": says}
