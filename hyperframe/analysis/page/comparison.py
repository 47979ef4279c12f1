"""The section of a report that has the run beside others: results, what differs, and the picture of a comparison."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperframe.analysis.page.elements import picture
from hyperframe.analysis.page.texts import text, unbroken
from hyperframe.analysis.rows.comparison import comparison_rows, comparison_title, difference_rows, task_note
from hyperframe.runs.comparison import repeats

PLACE, HEADING = "compared", "Beside other runs"


def comparison(content: Mapping[str, Any], folder: Path) -> str:
    """Return the section, or nothing where the report is about one run alone.

    Args:
        content: of the report; its `comparison` is what `hyperframe.analysis.report.compare_with_first` returned.
        folder: that holds the picture.
    """
    found = content.get("comparison")
    if found is None:
        return ""
    names = list(repeats(found["runs"]))
    parts = [
        f'<section id="{PLACE}"><h2>{HEADING}</h2><p class="summary">{text(comparison_title(found))}.</p>',
        _table(names, comparison_rows(found)),
    ]
    note = task_note(found)
    parts.append(f"<p>{text(note[0].upper() + note[1:])}.</p>" if note else "")
    different = list(difference_rows(found))
    if different:
        parts.append(f"<h3>Where the configurations differ</h3>{_table(names, different)}")
    drawn = found.get("picture")
    parts.append(picture(drawn, folder) if isinstance(drawn, Mapping) else "")
    return "".join([*parts, '<p class="up"><a href="#top">↑ top</a></p></section>'])


def _table(names: Iterable[str], rows: Iterable[tuple[str, list[str]]]) -> str:
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in ("", *names))
    body = "".join(
        f'<tr><th scope="row">{text(words)}</th>{"".join(f"<td>{unbroken(cell)}</td>" for cell in cells)}</tr>'
        for words, cells in rows
    )
    return (
        f'<div class="scroll"><table class="listed"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
