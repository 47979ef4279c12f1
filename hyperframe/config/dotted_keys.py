"""Nested configurations, one dotted key after the other: what they hold, what has changed, and what is missing."""

from collections.abc import Iterator, Mapping
from typing import Any

from hyperframe.options import shown


def walk(content: Any, path: str = "", *, lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key of each value in nested mappings, and the value.

    Args:
        content: what is walked through.
        path: the key of `content` itself.
        lists: number the items of lists of components, and of other nested lists; every other list is one value.

    Example:
        >>> list(walk({"gauges": [{"name": "scale"}], "target": {"name": "mlp", "hidden": [8, 8]}}))
        [('gauges.0.name', 'scale'), ('target.name', 'mlp'), ('target.hidden', [8, 8])]
    """
    if lists and isinstance(content, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in content):
        content = dict(enumerate(content))
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from walk(value, f"{path}.{key}" if path else str(key), lists=lists)
    else:
        yield path, content


def changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Name each key whose value has changed, with both values, cut where they are long.

    Example:
        >>> list(changes({"trainer": {"steps": 5, "networks": 4}}, {"trainer": {"steps": 9, "networks": 4}}))
        ['trainer.steps: 5 → 9']
    """
    old, new = (dict(walk(content, path, lists=False)) for content in (before, after))
    for key in old | new:
        if old.get(key) != new.get(key):
            texts = [shown(values.get(key)).strip("'") for values in (old, new)]
            yield f"{key}: {texts[0]} → {texts[1]}"


def missing(complete: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """List the keys of a complete configuration that another one lacks.

    A section that is missing as a whole counts as one key, and a component's bare name stands for all of its section.

    Example:
        >>> complete = {"task": {"name": "digits", "zoom": 0}, "trainer": {"steps": 5, "seed": 0}}
        >>> missing(complete, {"task": "digits", "trainer": {"steps": 5}}), missing(complete, {"task": {}})
        (['trainer.seed'], ['task', 'trainer'])
    """
    known = dict(walk(found))
    lacking = []
    for key, _ in walk(complete):
        parts = key.split(".")
        above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        if known.keys().isdisjoint(above):
            lacking.append(next(one for one in above if not any(other.startswith(f"{one}.") for other in known)))
    return list(dict.fromkeys(lacking))
