"""Configurations as plain data: YAML files, `KEY=VALUE` texts, and how overrides are applied.

A component's section is `{name: mnist, download: true}`; the bare text `mnist` means `{name: mnist}`. Overrides are
applied names first, then options, and a changed name drops the old options.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hyperframe.config.dotted_keys import walk
from hyperframe.config.import_path import FAMILIES
from hyperframe.config.kinds import KINDS
from hyperframe.config.yaml_values import load_value, load_yaml
from hyperframe.errors import ConfigError, RunError, brief
from hyperframe.options import shown
from hyperframe.runtime.files import read_text

SINGLE = {kind.key: kind.name for kind in KINDS.values() if kind.key and not kind.many}
"""Keys that hold one component, and its kind."""

LISTS = {kind.key: kind.name for kind in KINDS.values() if kind.many}
"""Keys that hold a list of components, and their kind."""

DEFAULTS: dict[str, Any] = {kind.key: kind.default for kind in KINDS.values() if kind.default is not None}
"""Stand for components that a configuration does not name."""

KEY_HELP = {
    **{kind.key: kind.help for kind in KINDS.values() if kind.key},
    "prior": "random functions of each network's own, added to its outputs",
    "trainer": "how training runs",
    "evaluation": "how networks are evaluated",
}
"""All keys, in order, and what they hold."""

LARGEST = 1 << 16
"""Bytes of a configuration file at most; a complete one has a few thousand."""

DEEPEST = 10
"""Levels of a configuration file at most; a complete one has four."""

_YAML_ERRORS = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
)


def as_section(section: Any, path: str) -> dict[str, Any]:
    """Return a component's section as keys and values: a bare name stands for `{name: …}`.

    Example:
        >>> as_section("torchvision:resnet18", "target")
        {'name': 'torchvision', 'model': 'resnet18'}
    """
    if isinstance(section, str):
        section = {"name": section}
    if isinstance(section, Mapping):
        family, colon, member = str(section.get("name")).partition(":")
        if colon and family in FAMILIES:
            return {**section, "name": family, FAMILIES[family]: member}
        return dict(section)
    raise ConfigError(f"{path}: expected a name, or keys and values with a name, but got {shown(section)}")


def named_section(section: Any, key: str) -> dict[str, Any]:
    """The same for a key that holds one component, with the default's name where there are options alone.

    Example:
        >>> named_section({"lambda": 10}, "objective")
        {'name': 'trade_off', 'lambda': 10}
    """
    default = {"name": DEFAULTS[key]} if key in DEFAULTS else {}
    return {**default, **as_section({} if default and section is None else section, key)}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Interpolations are refused, since they can read the environment, and so are aliases, with which a short file stands
    for a huge one.

    Raises:
        ConfigError: the file is not there, is too large, or holds something else.
    """
    try:
        text = read_text(path, LARGEST)
        _check_structure(text, f"configuration file {path}")
        content = load_yaml(text)
    except RunError as error:
        raise ConfigError(str(error)) from error
    except _YAML_ERRORS as error:
        raise ConfigError(f"configuration file {path} cannot be read: {brief(error)}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ConfigError(f"configuration file {path} must hold keys and values")
    _refuse_interpolations(content, str(path))
    return {str(key): value for key, value in content.items()}


def _check_structure(text: str, where: str) -> None:
    """Refuse aliases and deep nesting, which make little text into much work, and tags, which make other types of it.

    This is done before anything is built of the text.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{where}: aliases such as '*{event.anchor}' are not allowed")
        if getattr(event, "tag", None) is not None:
            raise ConfigError(f"{where}: tags such as '{event.tag}' are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ConfigError(f"{where} is nested more than {DEEPEST} levels deep")


def _refuse_interpolations(content: Any, where: str) -> None:
    for key, value in walk(content):
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str) and "${" in text:
                place = f"{where}: {key}" if key else where
                raise ConfigError(f"{place}: interpolations such as '{text}' are not allowed; write the value itself")


def read_value(text: str, where: str) -> Any:
    """Read a YAML value that stands within a text of a configuration, with the same limits as the configuration.

    Raises:
        ConfigError: it is no YAML value, or one that could do harm.

    Example:
        >>> read_value("[1, 2]", "target.arguments: 'sizes'")
        [1, 2]
    """
    try:
        _check_structure(text, where)
        return load_value(text)
    except _YAML_ERRORS as error:
        raise ConfigError(f"{where} is no YAML value: {brief(error)}") from error


def no_overrides(given: Any) -> ConfigError:
    """Make the error for something else than overrides."""
    return ConfigError(
        f"overrides: expected dotted keys and their values, such as {{'trainer.steps': 500}}, but got {shown(given)}"
    )


def check_override(key: Any, value: Any) -> tuple[str, Any]:
    """Refuse a key that is no text, and interpolations in the value."""
    if not isinstance(key, str):
        raise ConfigError(f"overrides: keys are texts such as 'trainer.steps', but got {key!r}")
    _refuse_interpolations(value, key)
    return key, value


def split_override(text: str) -> tuple[str, Any]:
    """Split `KEY=VALUE` and read VALUE, as `hyperframe.config.yaml_values.load_value` does.

    Example:
        >>> split_override("task.folder=photos #2"), split_override("trainer.steps=1e3")
        (('task.folder', 'photos #2'), ('trainer.steps', 1000.0))
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{text}' is no override; write KEY=VALUE, such as trainer.steps=500")
    if not value.strip():
        raise ConfigError(
            f"{key}: no value stands behind '='; write {key}=null for nothing, or \"{key}=''\" for no text"
        )
    _refuse_interpolations(value, key)
    try:
        return key, load_value(value)
    except _YAML_ERRORS as error:
        raise ConfigError(f"{key}: '{value[:80]}' is no YAML value: {brief(error)}") from error


def split_all(texts: Iterable[str]) -> list[tuple[str, Any]]:
    """Split several `KEY=VALUE`, of which no two may be for one key.

    Raises:
        ConfigError: one is none, or two are for one key; `target` and `target.name` are one.

    Example:
        >>> split_all(["trainer.steps=3", "gauges=[scale]"])
        [('trainer.steps', 3), ('gauges', ['scale'])]
    """
    pairs: list[tuple[str, Any]] = []
    given: dict[str, str] = {}
    for text in texts:
        key, value = split_override(text)
        pairs.append((key, value))
        head, _, rest = key.partition(".")
        place = head if head in SINGLE and rest == "name" else key
        if place in given:
            raise ConfigError(f"{place} is given twice, as '{given[place]}' and as '{text}'; give it once")
        given[place] = text
    return pairs


def apply_overrides(content: Mapping[str, Any], pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the configuration with overrides applied: names first, then options.

    A changed name drops the old options. A list's items are addressed by their number, such as `diversity.0.weight`.

    Example:
        >>> content = {"task": {"name": "digits", "split_seed": 3}}
        >>> apply_overrides(content, [("task.download", True), ("task", "mnist")])
        {'task': {'name': 'mnist', 'download': True}}
    """
    result = dict(content)
    for key in SINGLE:
        if result.get(key) is not None:
            result[key] = named_section(result[key], key)
    for key in LISTS:
        if isinstance(result.get(key), list):
            result[key] = [as_section(item, f"{key}.{number}") for number, item in enumerate(result[key])]
    for key, value in sorted(pairs, key=lambda pair: not _names_component(pair[0])):
        _set(result, key, value)
    return result


def _names_component(key: str) -> bool:
    head, *rest = key.split(".")
    if head in SINGLE:
        return rest in ([], ["name"])
    return head in LISTS and (len(rest) <= 1 or (len(rest) == 2 and rest[1] == "name"))


def _set(result: dict[str, Any], key: str, value: Any) -> None:
    head, *rest = key.split(".")
    if head not in KEY_HELP:  # refused by `read_config`, which knows what the components' options are
        result[head] = value
        return
    if head in LISTS:
        if not rest:
            items = value if isinstance(value, list) else [value]
            result[head] = [as_section(item, f"{head}.{number}") for number, item in enumerate(items)]
            return
        items = result.get(head, [])
        if not isinstance(items, list):
            raise ConfigError(f"{head}: expected a list, but got {shown(items)}")
        if rest[0] not in map(str, range(len(items))):
            numbers = f"0 to {len(items) - 1}" if items else "none, it is empty"
            raise ConfigError(f"{key}: '{rest[0]}' is no item of '{head}'; its items are {numbers}")
        items[int(rest[0])] = _override(items[int(rest[0])], rest[1:], value, key)
    elif head in SINGLE:
        result[head] = _override(result.get(head) or {}, rest, value, key)
    else:
        section = {} if result.get(head) is None else result[head]
        changes = {".".join(rest): value} if rest else value
        if not isinstance(section, Mapping) or not isinstance(changes, Mapping):
            wrong = section if isinstance(changes, Mapping) else value
            raise ConfigError(f"{head}: expected keys and values, but got {shown(wrong)}")
        result[head] = {**section, **changes}


def _override(section: dict[str, Any], rest: list[str], value: Any, path: str) -> dict[str, Any]:
    """A component's section after one override."""
    if rest in ([], ["name"]):
        chosen = as_section(value, path)
        return {**section, **chosen} if chosen.get("name", section.get("name")) == section.get("name") else chosen
    return {**section, ".".join(rest): value}
