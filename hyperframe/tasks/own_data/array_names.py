"""Names under which a user's arrays are known: inputs and labels of each split, as data sets usually call them."""

from collections.abc import Iterable, Mapping
from typing import Any

from hyperframe.errors import DataError

INPUTS = ("x", "data", "images", "inputs", "features")
"""Names of inputs; upper and lower case are the same."""
LABELS = ("y", "target", "targets", "labels", "label")
"""Names of labels."""
SPLIT_WORDS = {"": ("", "train"), "validation": ("validation", "val", "valid"), "test": ("test",)}
"""Words behind or before such a name, with or without a line between, for each split."""


def part_names() -> dict[str, str]:
    """For each name, in lower case, which part of a task it is the name of.

    Example:
        >>> names = part_names()
        >>> names["x_train"], names["val_images"], names["target"], names["xtest"]
        ('x', 'x_validation', 'y', 'x_test')
    """
    found = {}
    for letter, bases in (("x", INPUTS), ("y", LABELS)):
        for split, words in SPLIT_WORDS.items():
            part = f"{letter}_{split}" if split else letter
            for base in bases:
                for word in words:
                    ways = (f"{base}_{word}", f"{word}_{base}", f"{base}{word}") if word else (base,)
                    found.update(dict.fromkeys(ways, part))
    return found


def chosen_parts(names: Iterable[str], where: str) -> dict[str, str]:
    """Find the array of each part of a task: for each part the array's name.

    An array with the part's own name, such as `x`, comes before others. Labels of several heads are called as labels
    are, and behind a dot as the head: `y.digit`, `y_test.digit`.

    Args:
        names: of the arrays that there are.
        where: they lie, for messages.

    Raises:
        DataError: inputs or labels to train on are missing, or two arrays could be the same part.

    Example:
        >>> chosen_parts(["X_train", "y_train", "names"], "mine.npz")
        {'x': 'X_train', 'y': 'y_train'}
        >>> chosen_parts(["x", "y.digit", "y.size"], "mine.npz")
        {'x': 'x', 'y.digit': 'y.digit', 'y.size': 'y.size'}
    """
    there, known = sorted(names), part_names()
    parts: dict[str, list[str]] = {}
    for name in there:
        base, dot, head = name.partition(".")
        part = known.get(base.lower(), "")
        if part and (not dot or (part.startswith("y") and head)):
            parts.setdefault(f"{part}{dot}{head}", []).append(name)
    listed = ", ".join(there) or "no array"
    for part, what, usual in (("x", "inputs", INPUTS), ("y", "labels", LABELS)):
        if not any(found.partition(".")[0] == part for found in parts):
            raise DataError(
                f"{where}: there is no array '{part}' of {what}, but {listed}; it can also be called "
                f"{', '.join(usual[1:])} or {part}_train, likewise for {part}_validation and {part}_test"
            )
    for part, found in parts.items():
        if part not in found and len(found) > 1:
            raise DataError(
                f"{where}: {' and '.join(found)} could both be '{part}'; rename the one that is to be '{part}'"
            )
    return {part: part if part in found else found[0] for part, found in parts.items()}


def with_heads(arrays: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Put the labels of several heads, such as `y.digit` and `y.size`, into mappings by the heads' names.

    Raises:
        DataError: a split has labels with and without a head.

    Example:
        >>> with_heads({"x": 1, "y.digit": 2, "y.size": 3}, "mine.npz")
        {'x': 1, 'y': {'digit': 2, 'size': 3}}
    """
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        part, dot, head = name.partition(".")
        if part in found and not (dot and isinstance(found[part], dict)):
            raise DataError(f"{where}: there are '{part}' and '{part}.…', labels with and without the name of a head")
        if dot:
            found.setdefault(part, {})[head] = array
        else:
            found[part] = array
    return found


def chosen_inputs(names: Iterable[str], where: str) -> str:
    """The inputs' array: `x`, another usual name of inputs, or the only array if it is not called as labels are.

    Raises:
        DataError: no array is, or several could be.

    Example:
        >>> chosen_inputs(["labels", "images"], "mine.npz")
        'images'
    """
    there = sorted(names)
    found = ["x"] if "x" in there else [name for name in there if name.lower() in INPUTS]
    found = found or (there if len(there) == 1 and there[0].lower() not in part_names() else [])
    if len(found) != 1:
        listed = ", ".join(there) or "no array"
        raise DataError(
            f"{where} holds no array 'x', but {listed}; the inputs are one that is called {', '.join(INPUTS)}"
        )
    return found[0]
