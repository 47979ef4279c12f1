"""Work done in parts: each is kept in a file as soon as it is done, so that an interrupted analysis goes on there."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hyperframe.runtime.files import (
    LARGEST_RESULTS,
    as_json,
    contents,
    exists,
    from_json,
    kept_json,
    write_json,
    writing,
)
from hyperframe.runtime.links import inside
from hyperframe.runtime.progress import tell

PARTS = "parts"
KEY = "key.json"


def in_parts(folder: Path, what: str, count: int, work: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Do work in parts; parts that an interrupted call has finished are read instead.

    Progress is reported for each part. `hyperframe.analysis.runner` removes the kept parts when the analysis is
    finished, or when it is run at another step or with other options.

    Args:
        folder: of the analysis.
        what: a name for the parts, in the plural. It is part of their files' names, so it must differ between the calls
            of one analysis.
        count: the number of parts.
        work: does part number i and returns its results as plain data. It must not depend on other parts.

    Returns:
        The results of all parts, as JSON gives them back.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     in_parts(Path(folder), "draws", 2, lambda number: {"square": number**2})
        [{'square': 0}, {'square': 1}]
    """
    found = []
    for number in range(count):
        tell(what, number, count)
        path = inside(folder, PARTS) / f"{what.replace(' ', '_')}-{number}.json"
        results = kept_json(path, LARGEST_RESULTS)
        if results is None:
            results = from_json(as_json(work(number)))
            write_json(path, results)
        found.append(results)
    tell(what, count, count)
    return found


def open_parts(folder: Path, key: Mapping[str, Any]) -> None:
    """Keep the parts in a folder if they were made under the same key; remove them if not."""
    path = inside(folder, PARTS) / KEY
    if kept_json(path, LARGEST_RESULTS) != key:
        remove_parts(folder)
        write_json(path, key)


def has_parts(folder: Path) -> bool:
    """Whether any part is kept."""
    return exists(folder / PARTS) and any(path.name != KEY for path in contents(folder / PARTS))


def remove_parts(folder: Path) -> None:
    """Remove all parts that are kept."""
    if exists(folder / PARTS):
        with writing(folder / PARTS):
            shutil.rmtree(inside(folder, PARTS))
