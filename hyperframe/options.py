"""Options of a component or a section: plain attrs classes, read from a mapping with messages that name the key.

Options are flat: booleans, numbers, strings, choices, and lists of these.
"""

import math
import numbers
import operator
import os
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs

from hyperframe.errors import ConfigError, unknown_name

T = TypeVar("T")
_PLAIN_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}


def option(
    default: Any = attrs.NOTHING,
    help: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    run: bool = False,
    location: bool = False,
    networks: bool = False,
    of_task: str | None = None,
    names_task: bool = False,
    given: Literal["budget", "folder"] | None = None,
    before: Any = attrs.NOTHING,
) -> Any:
    """Declare one option of an attrs class: its default, one line of help, and the range it may lie in.

    `minimum` and `maximum` belong to the range, `above` and `below` do not. With `run` the value is the folder of
    another run, and what an analysis found with it is taken again only while that run has the same newest
    checkpoint. With `location` the value says where data lie, or how they get there: paths are kept absolute, and
    may change without making a run another one. With `networks` the values are files of networks of the target,
    each a state_dict at which a part of what is trained begins. With `of_task`, an attribute of tasks such as
    "num_outputs", an option of a target that is left out, or null, is what the task has; the default stands for it
    where there is no task. With `names_task` the value of an option of a diversity term is the name of a registered
    task, which the term has as `other_task`. An option of an analysis with `given` is set where generators are
    compared, unless the user sets it: "budget" is the number of gradient evaluations that each training may take,
    "folder" a folder that all runs of one seed share. An option that joins a component which runs were trained with
    has `before`, the value that they had without it: those that do not name it are read with that.

    Example:
        >>> @attrs.frozen(kw_only=True)
        ... class Options:
        ...     slope: float = option(0.05, "slope below zero", minimum=0)
        >>> read_options(Options, {"slope": -1}, "generator")
        Traceback (most recent call last):
        ...
        hyperframe.errors.ConfigError: generator.slope: expected a number, at least 0, but got -1
    """
    bounds = {"at least": minimum, "above": above, "at most": maximum, "below": below}
    said = {
        "help": help,
        "bounds": {word: limit for word, limit in bounds.items() if limit is not None},
        "run": run,
        "location": location,
        "networks": networks,
        "of_task": of_task,
        "names_task": names_task,
        "given": given,
        "before": before,
    }
    return attrs.field(default=default, metadata=said)


def key_of(field: "attrs.Attribute[Any]") -> str:
    """Return the key a field has in a configuration: its name, less the underscore that avoids a Python keyword."""
    return field.name.removesuffix("_")


def expected(kind: Any, bounds: Mapping[str, float] | None = None) -> str:
    """Say in words which values a type and its bounds admit.

    Example:
        >>> expected(tuple[int, ...], {"at least": 1})
        'a list of whole numbers, at least 1'
        >>> expected(int | tuple[int | None, ...] | None)
        'a whole number or null or a list of these'
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        words = "one of " + ", ".join(map(str, args))
    elif origin in (Union, types.UnionType):
        single = {arg for arg in args if get_origin(arg) not in (tuple, list)}
        of_these = [arg for arg in args if arg not in single and {*_alternatives(get_args(arg)[0])} == single]
        told = [expected(arg) for arg in args if arg not in of_these]
        words = " or ".join([*told, *("a list of these" for _ in of_these)])
    elif origin in (tuple, list):
        words = "a list of " + _plural(args[0])
    else:
        words = _PLAIN_NAMES.get(kind, getattr(kind, "__name__", str(kind)))
    limits = " and ".join(f"{word} {limit:g}" for word, limit in (bounds or {}).items())
    return f"{words}, {limits}" if limits else words


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a type is made of, which is one where it is no union."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _plural(kind: Any) -> str:
    if get_origin(kind) in (tuple, list):
        return "lists of " + _plural(get_args(kind)[0])
    return {bool: "true or false", int: "whole numbers", float: "numbers", str: "texts"}.get(kind, expected(kind))


def read_options(cls: type[T], values: Mapping[str, Any], path: str, *, beside: type[Any] | None = None) -> T:
    """Build an options class from a mapping of keys to values.

    Args:
        cls: an attrs class whose fields have types of this module's kinds.
        values: what the user gave; keys left out keep their default.
        path: the key path of the mapping, for messages.
        beside: another class, whose keys messages name as well.

    Raises:
        ConfigError: an unknown key, a wrong type, a value out of range, or a value the class itself refuses.
    """
    hints = typing.get_type_hints(cls)
    fields = {key_of(field): field for field in attrs.fields(cast(Any, cls))}
    for key in values:
        if key not in fields:
            others = {key_of(field): field for field in attrs.fields(beside)} if beside is not None else {}
            fields = {**fields, **others}
            meanings = {known: field.metadata.get("help", "") for known, field in fields.items()}
            name, colon, value = str(key).partition(":")
            if colon and values[key] is None and name in {"name", *fields}:
                raise ConfigError(f"{path}: a space is missing behind the colon of '{key}'; write {{{name}: {value}}}")
            raise ConfigError(f"{path}: " + unknown_name("key", str(key), fields, meanings=meanings))
    arguments = {}
    for key, field in fields.items():
        where = f"{path}.{key}" if path else key
        if key in values:
            bounds = field.metadata.get("bounds", {})
            arguments[field.alias or field.name] = _convert(values[key], hints[field.name], where, bounds)
        elif field.default is attrs.NOTHING:
            raise ConfigError(f"{where}: a value is needed, {expected(hints[field.name])}")
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def plain_options(options: Any) -> dict[str, Any]:
    """Return the options as a plain mapping that `read_options` reads back to an equal object."""
    plain = {key_of(field): getattr(options, field.name) for field in attrs.fields(type(options))}
    return {key: _plain(value) for key, value in plain.items()}


def plain_default(field: "attrs.Attribute[Any]") -> Any:
    """The default of an option that has one, as plain data."""
    default: Any = field.default
    made = isinstance(default, attrs.Factory)  # type: ignore[arg-type]
    return _plain(default.factory() if made else default)


def named_runs(options: Any) -> dict[str, str]:
    """The run folders that options name, by the keys that were declared with `run`.

    Example:
        >>> @attrs.frozen(kw_only=True)
        ... class Options:
        ...     other: str | None = option(None, "another run", run=True)
        >>> named_runs(Options(other="runs/b")), named_runs(Options())
        ({'other': 'runs/b'}, {})
    """
    fields = [field for field in attrs.fields(type(options)) if field.metadata.get("run")]
    return {key_of(field): folder for field in fields if (folder := getattr(options, field.name)) is not None}


def locations(options: Any) -> dict[str, Any]:
    """Keys and values of options that were declared with `location`.

    Example:
        >>> @attrs.frozen(kw_only=True)
        ... class Options:
        ...     file: str | None = option(None, "where the data lie", location=True)
        ...     size: int = option(3)
        >>> locations(Options(file="a.npz"))
        {'file': 'a.npz'}
    """
    fields = [field for field in attrs.fields(type(options)) if field.metadata.get("location")]
    return {key_of(field): getattr(options, field.name) for field in fields}


def values_before(options: Any) -> dict[str, Any]:
    """Keys of options that were declared with `before`, and what runs had that do not name them.

    Example:
        >>> @attrs.frozen(kw_only=True)
        ... class Options:
        ...     size: int = option(3)
        ...     flip: bool = option(True, "a later option", before=False)
        >>> values_before(Options())
        {'flip': False}
    """
    known = {key_of(field): field.metadata.get("before", attrs.NOTHING) for field in attrs.fields(type(options))}
    return {key: value for key, value in known.items() if value is not attrs.NOTHING}


def files_of_networks(options: Any) -> dict[str, tuple[str, ...]]:
    """Keys and files of options that were declared with `networks`."""
    fields = [field for field in attrs.fields(type(options)) if field.metadata.get("networks")]
    return {key_of(field): tuple(getattr(options, field.name)) for field in fields}


def named_task(options: Any) -> tuple[str, str | None]:
    """The key of the option that was declared with `names_task`, and its value; an empty key where there is none."""
    fields = [field for field in attrs.fields(type(options)) if field.metadata.get("names_task")]
    return next(((key_of(field), getattr(options, field.name)) for field in fields), ("", None))


def with_absolute_locations(options: T) -> T:
    """The same options with every path that says where data lie absolute, seen from the current folder.

    Example:
        >>> @attrs.frozen(kw_only=True)
        ... class Options:
        ...     file: str | None = option(None, "where the data lie", location=True)
        >>> with_absolute_locations(Options(file="/data/../x.npz")), with_absolute_locations(Options())
        (Options(file='/x.npz'), Options(file=None))
    """
    found: dict[str, Any] = {}
    for field in attrs.fields(cast(Any, type(options))):
        value = getattr(options, field.name)
        if field.metadata.get("location") and isinstance(value, str):
            found[field.alias or field.name] = _absolute(value)
        elif field.metadata.get("location") and isinstance(value, tuple):
            found[field.alias or field.name] = tuple(_absolute(path) for path in value)
    return attrs.evolve(cast(Any, options), **found) if found else options


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def keys_of_task(cls: type[Any]) -> dict[str, str]:
    """The keys of options that were declared with `of_task`, and the task's attributes."""
    fields = {key_of(field): field.metadata.get("of_task") for field in attrs.fields(cls)}
    return {key: name for key, name in fields.items() if name is not None}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _convert(value: Any, kind: Any, where: str, bounds: Mapping[str, float]) -> Any:
    converted = _match(value, kind)
    if converted is _MISMATCH or not _within(converted, bounds):
        raise ConfigError(f"{where}: expected {expected(kind, bounds)}, but got {shown(value)}")
    return converted


def shown(value: Any) -> str:
    """A value as a message shows it, in YAML's words and with its type where it is none that YAML has; cut where long.

    Example:
        >>> shown(None), shown("a"), shown(b"a")
        ('null', "'a'", "b'a' (bytes)")
    """
    text = "null" if value is None else repr(value)
    text = text if len(text) <= 200 else text[:200] + " …"
    plain = isinstance(value, str | int | float | list | tuple | dict | None)
    return text if plain else f"{text} ({type(value).__name__})"


_MISMATCH = object()


def _match(value: Any, kind: Any) -> Any:
    """Return the value as the type wants it, or `_MISMATCH`; never rounds, never parses text."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value if isinstance(value, str | int | float) and value in args else _MISMATCH
    if origin in (Union, types.UnionType):
        matches = (_match(value, arg) for arg in args)
        return next((match for match in matches if match is not _MISMATCH), _MISMATCH)
    if origin in (tuple, list):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return _MISMATCH
        items = tuple(_match(item, args[0]) for item in value)
        return _MISMATCH if any(item is _MISMATCH for item in items) else items
    return _match_plain(value, kind)


def _match_plain(value: Any, kind: Any) -> Any:
    if kind in (int, float) and not isinstance(value, bool) and isinstance(value, numbers.Real):
        try:
            number = float(value)
        except OverflowError:
            return _MISMATCH
        if kind is float:
            return number
        if isinstance(value, numbers.Integral):
            return int(value)
        return int(number) if number.is_integer() else _MISMATCH
    if kind is bool and isinstance(value, getattr(sys.modules.get("numpy"), "bool_", bool)):
        return bool(value)
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if kind in (bool, str, type(None)) and isinstance(value, kind):
        return value
    return _MISMATCH


def _within(value: Any, bounds: Mapping[str, float]) -> bool:
    if isinstance(value, tuple):
        return all(_within(item, bounds) for item in value)
    if value is None or isinstance(value, bool | str):
        return True
    return math.isfinite(value) and all(_COMPARE[word](value, limit) for word, limit in bounds.items())


_COMPARE = {"at least": operator.ge, "at most": operator.le, "above": operator.gt, "below": operator.lt}
