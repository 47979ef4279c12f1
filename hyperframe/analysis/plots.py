"""Pictures that analyses make, and what a report needs to know of them.

An analysis lists them under `pictures` and `interactive` of what it returns; `highlights`, a mapping of words to texts,
are the figures that matter. None of these keys must be there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hyperframe.runs.folder import RESULTS
from hyperframe.runtime.files import whole_file, write_json

Kind = Literal["scatter", "lines", "grid"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
"""Of lines and points, in their order; told apart by people who are colour-blind (M. Okabe, K. Ito 2008)."""


def new_figure(width: float = 7.0, height: float = 4.5) -> Any:
    """An empty matplotlib figure on white, of a size in inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (takes a second, and only pictures need it)

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def size_axis(axes: Any, sizes: Sequence[int]) -> None:
    """Let a matplotlib plot's horizontal axis be the number of networks in an ensemble, each size a mark."""
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("networks in the ensemble")
    axes.spines[["top", "right"]].set_visible(False)


def keep_picture(folder: Path, file: str, figure: Any, *, title: str, caption: str) -> dict[str, str]:
    """Write a figure as PNG into an analysis' folder.

    Args:
        folder: of the analysis.
        file: a name that ends in .png.
        figure: a matplotlib figure.
        title: a few words.
        caption: one sentence: what the picture shows, and the number that matters.

    Returns:
        What belongs into the analysis' `pictures`.
    """
    with whole_file(folder / file) as partial:
        figure.savefig(partial, format="png", dpi=130)
    return {"file": file, "title": title, "caption": caption}


def keep_scatter(
    folder: Path, file: str, series: Mapping[str, Mapping[str, Any]], *, title: str, caption: str
) -> dict[str, str]:
    """Write points that a reader can turn over: he chooses a series and two of its axes.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        series: for each name `points` [points][axes] and `axes`, a label for each.
        title: a few words.
        caption: one sentence.

    Returns:
        What belongs into the analysis' `interactive`.

    Raises:
        ValueError: a point has not as many numbers as there are labels; or the file cannot have this name.
    """
    content = {name: {"points": _plain(of["points"]), "axes": list(of["axes"])} for name, of in series.items()}
    for name, of in content.items():
        if any(len(point) != len(of["axes"]) for point in of["points"]):
            raise ValueError(f"{file}: a point of '{name}' has not as many numbers as the series has axes")
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
    """Write lines over one axis, along which a reader moves a slider that shows all values there.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        x: places along the axis.
        lines: for each name its values there.
        labels: of the two axes.
        title: a few words.
        caption: one sentence.

    Returns:
        What belongs into the analysis' `interactive`.

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
    """Write values over a plane, which a reader sees as colours and, where he points, as numbers.

    Args:
        folder: of the analysis.
        file: a name that ends in .json.
        x: places along the first axis.
        y: places along the second one.
        values: [y][x].
        labels: of the two axes and of the values.
        marks: points of the plane that have a name; an empty mapping where there are none.
        title: a few words.
        caption: one sentence.

    Returns:
        What belongs into the analysis' `interactive`.

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
    """Numbers in sequences, arrays or tensors as lists of plain numbers."""
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
