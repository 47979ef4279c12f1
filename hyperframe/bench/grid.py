"""Grids of configurations: `KEY=VALUE,VALUE,...` read, and the cells that they make."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe.bench.cells import Cell
from hyperframe.bench.recipes import naming
from hyperframe.config.overrides import split_all, split_override
from hyperframe.config.registry import Registry
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError
from hyperframe.options import shown

SEED, SEED_FOR_SHORT = "trainer.seed", "seed"
"""Cells that differ in it alone are repeats of one point."""

LARGEST = 1000
"""Cells of a grid at most."""

LONGEST_LABEL = 80

OPENING, CLOSING, QUOTES = "[{", "]}", "'\""

VARIABLES = [f"SLURM_ARRAY_TASK_{word}" for word in ("ID", "COUNT", "MIN", "STEP")]


@attrs.frozen(kw_only=True)
class GridCell(Cell):
    """A cell of a grid.

    Attributes:
        settings: `KEY=VALUE` texts, all that it changes of the configuration.
    """

    settings: tuple[str, ...]


def split_values(text: str) -> list[str]:
    """Split a text at its commas, but for those within brackets, braces and quotes.

    Example:
        >>> split_values("[scale],[scale,logit_bias]"), split_values("'a,b',c")
        (['[scale]', '[scale,logit_bias]'], ["'a,b'", 'c'])
    """
    found, depth, quote, before = [""], 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote and before != "\\" else quote
        elif letter in QUOTES and (not found[-1].strip() or before in (*OPENING, ",", ":")):
            quote = letter
        elif letter in CLOSING:
            depth -= 1
        elif letter in OPENING and (depth or not found[-1].strip()):  # a plain text may have brackets, too
            depth += 1
        if letter == "," and depth <= 0 and not quote:
            found.append("")
        else:
            found[-1] += letter
        before = before if letter == " " else letter
    return found


def read_key(text: str) -> tuple[str, list[str]]:
    """Read one `KEY=VALUE,VALUE,...`: the key and its values, each of them as it is typed behind `KEY=`.

    Raises:
        ConfigError: it is none, or one of the values is given twice.
    """
    typed, equals, values = text.partition("=")
    key, pieces = SEED if typed == SEED_FOR_SHORT else typed, split_values(values)
    read = [split_override(f"{key}{equals}{piece}")[1] for piece in pieces]
    for number, value in enumerate(read):
        if value in read[:number]:
            raise ConfigError(f"{key}: {shown(value)} is given twice; give it once")
    return key, pieces


def read_values(texts: Sequence[str]) -> dict[str, list[str]]:
    """Read `KEY=VALUE,VALUE,...`: for each key its values, each of them as it is typed behind `KEY=`.

    Raises:
        ConfigError: one is none, a key or one of its values is given twice, or no key has several values.

    Example:
        >>> read_values(["objective.lambda=1,10", "seed=0,1", "trainer.steps=50"])
        {'objective.lambda': ['1', '10'], 'trainer.seed': ['0', '1'], 'trainer.steps': ['50']}
    """
    found = [read_key(text) for text in texts]
    split_all([f"{key}={pieces[0]}" for key, pieces in found])
    if all(len(pieces) == 1 for _, pieces in found):
        raise ConfigError(
            "no key has several values; write KEY=VALUE,VALUE such as objective.lambda=1,10,100, or train the one "
            "configuration with 'hyperframe train'"
        )
    cells = math.prod(len(pieces) for _, pieces in found)
    if cells > LARGEST:
        raise ConfigError(f"the grid has {cells:,} cells; take at most {LARGEST:,}")
    return dict(found)


def swept_keys(values: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys by which points of a grid differ: all that have several values, but the seed."""
    return [key for key, pieces in values.items() if len(pieces) > 1 and key != SEED]


def make_cells(source: str, values: Mapping[str, Sequence[str]], out: Path, registry: Registry) -> list[GridCell]:
    """Complete the configuration of each cell of a grid; all points from one seed come before those from the next one.

    Args:
        source: the configuration that all of them change.
        values: for each key its values, see `read_values`.
        out: the grid's folder.
        registry: where components are looked up.

    Raises:
        HyperframeError: a key or a value of a cell is unknown or out of range; the message names the cell.
    """
    swept = swept_keys(values)
    points = [dict(zip(swept, chosen, strict=True)) for chosen in itertools.product(*(values[key] for key in swept))]
    labels = labels_of(points, Path(source).stem)
    cells = []
    for seed in values.get(SEED, [None]):
        for label, point in zip(labels, points, strict=True):
            chosen = {key: point.get(key, pieces[0]) for key, pieces in values.items() if key != SEED}
            settings = [f"{key}={piece}" for key, piece in chosen.items()]
            settings += [] if seed is None else [f"{SEED}={seed}"]
            with naming(label):
                config = load_config(source, settings, registry).with_absolute_locations()
            number = config.trainer.seed
            cells.append(GridCell(label=label, seed=number, config=config, out=out, settings=tuple(settings)))
    return cells


def labels_of(points: Sequence[Mapping[str, str]], otherwise: str) -> list[str]:
    """Name points: the last words of keys, and the values, as the name of a folder can have them.

    Example:
        >>> labels_of([{"objective.lambda": "10", "gauges": "[scale,sign]"}], "digits"), labels_of([{}], "digits")
        (['lambda-10_gauges-scale-sign'], ['digits'])
    """
    keys = list(points[0])
    last = Counter(key.rpartition(".")[2] for key in keys)
    words = {key: name if last[name := key.rpartition(".")[2]] == 1 and name.isidentifier() else key for key in keys}
    labels: list[str] = []
    for point in points:
        parts = [f"{words[key]}-{_as_word(piece)}" for key, piece in point.items()]
        label = ("_".join(parts) or _as_word(otherwise))[:LONGEST_LABEL]
        alike = sum(other == label or other.startswith(f"{label}~") for other in labels)
        labels.append(f"{label}~{alike + 1}" if alike else label)
    return labels


def _as_word(text: str) -> str:
    """A text with what can stand in the name of a folder everywhere; the rest is left out."""
    return "-".join(re.findall(r"[A-Za-z0-9_.+-]+", text)) or "none"


def share_of(cells: Sequence[GridCell], environment: Mapping[str, str]) -> list[GridCell]:
    """Return the cells that are this process's: all, or its share where it is one of a scheduler's array of tasks.

    Of N tasks the first takes the cells 0, N, 2N ..., the second those after them, as SLURM's variables say it.

    Raises:
        ConfigError: the tasks are numbered with gaps.

    Example:
        >>> share_of(["a", "b", "c"], {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2"})
        ['b']
    """
    if not all(environment.get(name) for name in VARIABLES[:2]):
        return list(cells)
    found: dict[str, Any] = dict(zip(VARIABLES, "0101", strict=True))
    found |= {name: environment[name] for name in VARIABLES if environment.get(name)}
    if not all(text.isascii() and text.isdecimal() for text in found.values()):
        raise ConfigError(f"the scheduler's variables are no numbers: {shown(found)}")
    task, count, first, step = map(int, found.values())
    place, between = divmod(task - first, max(1, step))
    if between or not 0 <= place < count:
        raise ConfigError(
            f"the scheduler's array has gaps: task {task} of {count}; number its tasks as --array=0-7 does"
        )
    return list(cells[place::count])
