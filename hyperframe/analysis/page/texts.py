"""Escaped texts of the page, rows of tables, and plain data that unfold."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

WIDEST = 110
"""The most characters of a list or mapping that is written on one line."""


def row(words: str, value: Any) -> str:
    """Return a row of a table with two columns: a label and a value."""
    return f'<tr><th scope="row">{text(words)}</th><td>{unbroken(value)}</td></tr>'


def unbroken(value: Any) -> str:
    """Escape a value as text in which no line ends before a percent sign."""
    return text(value).replace(" %", "\u00a0%")


def details(summary: str, content: Mapping[str, Any]) -> str:
    """Return plain data as JSON that unfolds."""
    return f"<details><summary>{summary}</summary><pre>{escape(_plain(content))}</pre></details>"


def _plain(value: Any, indent: str = "") -> str:
    """Return JSON with lists of plain values, and all that fits, on one line each."""
    line = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(item, list | Mapping) for item in value)
    )
    if not nested or len(line) + len(indent) <= WIDEST:
        return line
    deeper = indent + "  "
    if isinstance(value, Mapping):
        rows = [f"{json.dumps(key, ensure_ascii=False)}: {_plain(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _plain(item, deeper) for item in value) + f"\n{indent}]"


def anchor(name: str) -> str:
    """Return the anchor of an analysis' section; two different names never give the same one."""
    return "analysis-" + re.sub(r"[^A-Za-z0-9_-]", lambda found: f".{ord(found[0]):x}.", name)


def title_of(name: str, content: Mapping[str, Any]) -> str:
    """Return an analysis' heading, or its name where it is not installed."""
    return str(content["headings"].get(name, name))


def text(value: Any) -> str:
    """Escape a value as text of the page."""
    return escape(str(value))


def entries(value: Any) -> Iterator[Mapping[str, Any]]:
    """Return the mappings of a list; anything else is left out, since the page cannot show it."""
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else iter(())
