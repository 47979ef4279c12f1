"""Checks of what an analysis returns: whether files can keep it, and a report show it."""

from collections.abc import Iterator, Mapping
from typing import Any

from hyperframe.analysis.conclusions import QUESTIONS
from hyperframe.errors import PluginError, notice, unknown_name

ENTRIES = {
    "conclusions": (("question", "sentence"), "hf.analysis.conclude"),
    "pictures": (("file",), "hf.analysis.keep_picture"),
    "tables": (("columns", "rows"), "hf.analysis.make_table"),
    "interactive": (("file",), "hf.analysis.keep_scatter, keep_lines or keep_grid"),
}
"""Of keys that list what a report shows: which keys each item has, and what returns such items."""
NAMED = {"highlights": "a dict of labels and short texts", "skipped": "a dict of parts and reasons"}
"""Of the others that a report knows: what they are."""


def check_plain(results: Any, whose: str) -> Mapping[str, Any]:
    """Return an analysis' results, which a JSON file can hold.

    Raises:
        PluginError: they are no dict, or hold what is no plain data.

    Example:
        >>> check_plain({"widths": [{1, 2}]}, "own")
        Traceback (most recent call last):
        hyperframe.errors.PluginError: own returns no plain data: results['widths'][0] is of type set; it can be \
numbers, texts, None, and lists and dicts of these
    """
    if not isinstance(results, Mapping):
        raise PluginError(f"{whose} returns no dict of results, but {type(results).__name__}")
    for place, kind in _others(results, "results"):
        raise PluginError(
            f"{whose} returns no plain data: {place} is of type {kind}; it can be numbers, texts, None, and lists and "
            "dicts of these"
        )
    return results


def _others(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield where there is something that JSON does not know, and of which type it is."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str | int | float | None):
                yield f"the key {key!r} of {place}", type(key).__name__
            yield from _others(item, f"{place}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _others(item, f"{place}[{number}]")
    elif not isinstance(value, str | int | float | None):
        yield place, type(value).__name__


def tell_unshown(results: Mapping[str, Any], whose: str) -> None:
    """Say what of results a report cannot show, since it has another form than the report knows."""
    wrong = [(key, words) for key, words in NAMED.items() if not isinstance(results.get(key, {}), Mapping)]
    for key, (parts, functions) in ENTRIES.items():
        items = results.get(key, [])
        if not isinstance(items, list) or not all(isinstance(one, Mapping) and {*parts} <= {*one} for one in items):
            wrong.append((key, f"a list of what {functions} returns"))
        elif key == "conclusions":
            unknown = [one["question"] for one in items if one["question"] not in [*QUESTIONS]]
            for question in unknown:
                notice(f"{whose}: no report shows its conclusion: {unknown_name('question', str(question), QUESTIONS)}")
    for key, words in wrong:
        notice(f"{whose}: no report shows its '{key}', which would have to be {words}")
