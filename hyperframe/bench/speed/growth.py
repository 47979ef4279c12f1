"""How a piece of work grows: measured for several values of one key, in one process."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe.bench.grid import read_key
from hyperframe.bench.recipes import naming
from hyperframe.bench.speed.timings import TAKES, Measured, measure, summarise
from hyperframe.config.overrides import split_all
from hyperframe.config.registry import Registry
from hyperframe.config.schema import Config, load_config
from hyperframe.errors import ConfigError, RunError
from hyperframe.runs.folder import CONFIG, RESULTS
from hyperframe.runs.provenance import processor, revision
from hyperframe.runtime.files import exists, is_file, kept_json
from hyperframe.runtime.memory import PeakMemory

KEY = "over"
"""The key of results that only a growth has."""


@attrs.frozen(kw_only=True)
class Point:
    """One value of the key.

    Attributes:
        text: the value as it is typed.
        config: with it.
        networks: how many are drawn.
        examples: how many training examples are taken.
    """

    text: str
    config: Config
    networks: int
    examples: int


def make_points(
    what: str, source: str, overrides: Sequence[str], over: str, registry: Registry, *, networks: int, examples: int
) -> tuple[str, list[Point]]:
    """Complete the configuration for each value of a key.

    Args:
        what: the piece of work.
        source: the configuration.
        overrides: `KEY=VALUE` texts, the same for all.
        over: `KEY=VALUE,VALUE,...`; the key is one of the configuration's, or what the piece takes (`TAKES`).
        registry: where components are looked up.
        networks: how many networks are drawn, unless that is the key.
        examples: how many training examples are taken, unless that is the key.

    Returns:
        The key, and its points.

    Raises:
        HyperframeError: the key or one of its values is none, or it has one value only.
    """
    key, pieces = read_key(over)
    if len(pieces) == 1:
        raise ConfigError(
            f"--over: {key} has one value only, {pieces[0]}; give several, as in trainer.networks=8,16,32"
        )
    points = []
    for piece in pieces:
        own, settings = {"networks": networks, "examples": examples}, list(overrides)
        if key in TAKES.get(what, ()):
            own[key] = _number(key, piece)
        else:
            settings.append(f"{key}={piece}")
        split_all(settings)
        with naming(f"{key}={piece}"):
            points.append(Point(text=piece, config=load_config(source, settings, registry), **own))
    return key, points


def _number(key: str, text: str) -> int:
    """Read how many networks or examples a value says."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ConfigError(f"{key}: expected a whole number of at least 1, but got '{text[:80]}'")
    return int(text)


def check_growth_folder(out: Path) -> None:
    """Check that a folder holds no other results, which would be written over.

    Raises:
        RunError: it does.
    """
    if exists(out) and not out.is_dir():
        raise RunError(f"--out: {out} is a file; name a folder")
    if is_file(out / CONFIG) or (is_file(out / RESULTS) and KEY not in (kept_json(out / RESULTS) or {})):
        raise RunError(f"--out: {out} holds results of something else; name an empty folder, or a new one")


def measure_growth(
    what: str,
    key: str,
    points: Sequence[Point],
    *,
    repeats: int,
    alone: bool,
    told: Callable[[str], None],
) -> dict[str, Any]:
    """Measure one piece of work for each value, there and back again.

    The values are gone through in their order and then in the reverse one, with half of the repeats each time, so that
    a machine that becomes slower, or faster, does so for all of them alike.

    Args:
        what: the piece of work.
        key: whose values differ.
        points: the values.
        repeats: timed calls of each way for each value.
        alone: leave out the other ways.
        told: hears of each value that is measured.

    Returns:
        `benchmark`, `config`, `over` (the key), `machine`, `device`, `threads`, `torch`, `revision`, `repeats`; and
        `points`, for each value its `value` and what `summarise` gives. Where values have other devices or threads,
        `device` names all, `threads` is None, and points have their own.

    Raises:
        HyperframeError: a value has no such piece of work.
    """
    memory = PeakMemory()
    found: dict[str, list[Measured]] = {point.text: [] for point in points}
    for some, calls in ((points, repeats - repeats // 2), (points[::-1], repeats // 2)):
        for point in some if calls else ():
            with naming(f"{key}={point.text}"):
                measured = measure(
                    what,
                    point.config,
                    memory,
                    networks=point.networks,
                    examples=point.examples,
                    repeats=calls,
                    alone=alone,
                )
                _check_sizes(what, point, measured.where["sizes"])
            found[point.text].append(measured)
            told(f"{key}={point.text}")
    contents = [{"value": text, **summarise(parts)} for text, parts in found.items()]
    shared = {name: contents[0][name] for name in ("benchmark", "config", "device", "threads", "torch", "repeats")}
    shared["device"] = " and ".join(dict.fromkeys(content["device"] for content in contents))
    if any(content["threads"] != shared["threads"] for content in contents):
        shared["threads"] = None
    where = {"machine": processor(), "revision": revision()}
    return {**shared, **where, KEY: key, "points": [_without(content, shared) for content in contents]}


def _check_sizes(what: str, point: Point, sizes: Mapping[str, int]) -> None:
    """Check that so many networks and examples are there: the picture says that they are.

    Raises:
        ConfigError: they are not.
    """
    for name in TAKES.get(what, ()):
        wanted = getattr(point, name)
        if sizes[name] < wanted:
            raise ConfigError(f"there are {sizes[name]:,} {name} only, and {wanted:,} are asked for")


def _without(content: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what all points share."""
    return {name: value for name, value in content.items() if name not in others or value != others[name]}
