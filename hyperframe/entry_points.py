"""Entry points that installed distributions declare for hyperframe, found without importing any of it."""

import importlib.metadata
import os
from collections.abc import Iterator
from typing import Any

import attrs

OWN_DISTRIBUTION = "hyperframe-nn"
LIMIT_VARIABLE = "HYPERFRAME_PLUGINS"


@attrs.frozen(kw_only=True)
class Source:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str


def find_entry_points(group: str) -> Iterator[tuple[importlib.metadata.EntryPoint, Source]]:
    """Yield what a group of entry points holds, and where each comes from.

    The variable HYPERFRAME_PLUGINS, names of distributions or entry points with commas between them, limits those of
    third parties to the ones that it names.

    Args:
        group: `hyperframe` for plugins, `hyperframe.commands` for commands.
    """
    chosen = os.environ.get(LIMIT_VARIABLE)
    allowed = None if chosen is None else {name.strip() for name in chosen.split(",")}
    known: dict[Any, tuple[str, str]] = {}  # a distribution parses a file whenever it is asked for its name
    for point in importlib.metadata.entry_points(group=group):
        if point.dist not in known:
            known[point.dist] = _name_and_version(point.dist)
        distribution, version = known[point.dist]
        own = distribution == OWN_DISTRIBUTION
        if own or allowed is None or allowed & {point.name, distribution}:
            name = point.name if own else f"{distribution}:{point.name}"
            yield point, Source(plugin=name, distribution=distribution, version=version)


def _name_and_version(distribution: importlib.metadata.Distribution | None) -> tuple[str, str]:
    if distribution is None:
        return "unknown", ""
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]
