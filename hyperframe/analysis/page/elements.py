"""Pictures, tables and interactive elements of a page, with their data in it."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.analysis.page.texts import text, unbroken
from hyperframe.analysis.plots import DOTS_PER_INCH
from hyperframe.errors import HyperframeError, RunError, brief
from hyperframe.runtime.files import as_json, from_json, is_file, read_text

LARGEST_ELEMENT = 1 << 24
"""The most bytes that a picture, or the data of an interactive element, may have."""

PNG = b"\x89PNG\r\n\x1a\n"
WIDTH = slice(16, 20)
"""Where a PNG file has its width."""

PIXELS_PER_INCH = 96
"""Of a page: pictures are as wide as their figures, so that their texts have the size that the figure says."""


def picture(entry: Mapping[str, Any], folder: Path) -> str:
    """Return a picture with its title and caption; the page's script shows it in full size at a click."""
    title, caption = text(entry.get("title", "")), text(entry.get("caption", ""))
    try:
        drawn = image(entry, folder)
    except (HyperframeError, OSError) as error:
        return _missing(title, error)
    return (
        f'<figure class="picture"><h3>{title}</h3><div class="card scroll">{drawn}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def image(entry: Mapping[str, Any], folder: Path) -> str:
    """Return the picture alone, which its caption describes.

    Raises:
        RunError, OSError: its file is missing, lies elsewhere, cannot be read or is no picture.
    """
    data = _inside(folder, entry.get("file")).read_bytes()
    if not data.startswith(PNG):
        raise RunError(f"{entry.get('file')} is no PNG picture")
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    width = round(int.from_bytes(data[WIDTH]) * PIXELS_PER_INCH / DOTS_PER_INCH)
    return f'<img src="{source}" width="{max(1, width)}" alt="{text(entry.get("caption", ""))}">'


def table(entry: Mapping[str, Any]) -> str:
    """Return a table with its title and caption; cells that are missing stay empty."""
    columns, rows = entry.get("columns"), entry.get("rows")
    if not isinstance(columns, list) or not isinstance(rows, list):
        return _missing(text(entry.get("title", "")), RunError("it has no columns and rows"))
    head = "".join(f'<th scope="col">{text(words)}</th>' for words in columns)
    filled = ["".join(f"<td>{_cell(value)}</td>" for value in row) for row in rows if isinstance(row, list)]
    body = "".join(f"<tr>{cells}</tr>" for cells in filled)
    return (
        f'<figure class="table"><h3>{text(entry.get("title", ""))}</h3><div class="scroll"><table class="listed">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<figcaption>{text(entry.get('caption', ''))}</figcaption></figure>"
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return text(f"{value:,.4g}") if isinstance(value, float) else unbroken(value)


def interactive(element: Mapping[str, Any], folder: Path) -> str:
    """Return an interactive element: its data, which the page's script draws."""
    title, caption = text(element.get("title", "")), text(element.get("caption", ""))
    try:
        points = from_json(read_text(_inside(folder, element.get("file")), LARGEST_ELEMENT))
    except (HyperframeError, ValueError) as error:
        return _missing(title, error)
    # An end tag or a comment, which would end the script's text, begins with "<".
    data = as_json(points).replace("<", "\\u003c")
    return (
        f'<figure class="interactive" data-kind="{text(element.get("kind", ""))}"><h3>{title}</h3>'
        f'<div class="stage" aria-label="{caption}"><noscript>This element needs JavaScript.</noscript></div>'
        f"<figcaption>{caption}</figcaption>"
        f'<script type="application/json">{data}</script></figure>'
    )


def _missing(title: str, error: Exception) -> str:
    return f'<p class="missing">{title}: {text(brief(error))}</p>'


def _inside(folder: Path, file: Any) -> Path:
    """Return the path of a file in an analysis' folder.

    Raises:
        RunError: it lies elsewhere, there is none, or it is too large.
    """
    try:
        path = (folder / str(file)).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(f"'{file}' is no name of a file") from error
    if not path.is_relative_to(folder.resolve()):
        raise RunError(f"'{file}' is not in the analysis' folder, and is not shown")
    if not is_file(path):
        raise RunError(f"'{file}' is missing")
    size = path.stat().st_size
    if size > LARGEST_ELEMENT:
        raise RunError(f"'{file}' has {size:,} bytes; at most {LARGEST_ELEMENT:,} are shown")
    return path
