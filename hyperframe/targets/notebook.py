"""Small tables in HTML, by which notebooks show an object: they need no other file, on a light or a dark page."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from hyperframe.errors import SpecError
from hyperframe.runtime.progress import MISSING, quantity

LAYERS = 30
"""Layers that a table has at most."""

_LINE = "1px solid rgba(128, 128, 128, 0.4)"
_CELL = "padding: 0.15em 0.8em 0.15em 0; text-align: left; vertical-align: top"


def html_table(title: str, rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> str:
    """A table with a title; all texts are escaped, and colours are those of the page around it.

    Args:
        title: stands above it.
        rows: cells, from left to right.
        heads: of the columns; without any the first cell of each row is its head.

    Example:
        >>> table = html_table("a & b", [["steps", 3]])
        >>> "a &amp; b" in table, "<th" in table
        (True, True)
    """
    lines = [f'<table style="border-collapse: collapse"><caption style="{_CELL}"><b>{escape(title)}</b></caption>']
    if heads:
        cells = "".join(f'<th style="{_CELL}; border-bottom: {_LINE}">{escape(head)}</th>' for head in heads)
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        texts = [escape(str(cell)) for cell in row]
        first = "td" if heads else "th"
        cells = f'<{first} style="{_CELL}">{texts[0]}</{first}>'
        cells += "".join(f'<td style="{_CELL}">{text}</td>' for text in texts[1:])
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def spec_table(spec: Any) -> str:
    """The layers of a `hyperframe.targets.TargetSpec`."""
    numbers = _known(lambda: spec.num_weights)
    outputs = outputs_in_words(*spec.output_shape)
    title = f"target {spec.name}: {numbers} weights, inputs {list(spec.input_shape)}, {outputs}"
    rows: list[Sequence[object]] = []
    for layer in spec.layers[:LAYERS]:
        size, weights = _known(lambda layer=layer: layer.filter_size), _known(lambda layer=layer: layer.num_weights)
        places = [", ".join(map(_place, places)) or MISSING for places in (layer.reads, layer.writes)]
        norm = "" if layer.norm == "none" else layer.norm
        rows.append([layer.name, f"{layer.filters:,}", size, weights, *places, norm])
    if len(spec.layers) > LAYERS:
        rest = spec.layers[LAYERS:]
        weights = _known(lambda: sum(layer.num_weights for layer in rest))
        rows.append([f"… and {len(rest)} more", "", "", weights, "", "", ""])
    return html_table(title, rows, ("layer", "filters", "filter size", "weights", "reads", "writes", "normalisation"))


def _place(place: Any) -> str:
    """A unit space, or some units of one."""
    return place if isinstance(place, str) else f"{place.space} ({quantity(len(place.indices), 'unit')})"


def _known(count: Any) -> str:
    """A count of a spec as text; one that is not bound to a module does not know the shapes of its parameters."""
    try:
        return f"{count():,}"
    except SpecError:
        return "not known yet"


def outputs_in_words(number: int, *places: int) -> str:
    """Say how many outputs an example has.

    Example:
        >>> outputs_in_words(4), outputs_in_words(4, 32, 32)
        ('4 outputs', '4 outputs at each of 32 × 32 places')
    """
    return quantity(number, "output") + (f" at each of {' × '.join(map(str, places))} places" if places else "")
