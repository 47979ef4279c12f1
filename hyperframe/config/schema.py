"""Complete configurations: every component found, every option known, typed and in range."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from hyperframe.config.choices import Choice, choose, plain_choice
from hyperframe.config.kinds import KINDS
from hyperframe.config.overrides import (
    DEFAULTS,
    KEY_HELP,
    LISTS,
    SINGLE,
    apply_overrides,
    check_override,
    named_section,
    no_overrides,
    read_yaml,
    split_all,
)
from hyperframe.config.registry import Registry
from hyperframe.config.sections import SECTIONS, EvaluationOptions, PriorOptions, TrainerOptions, shipped_configs
from hyperframe.errors import ConfigError, unknown_name
from hyperframe.options import (
    key_of,
    plain_options,
    read_options,
    shown,
    values_before,
    with_absolute_locations,
)
from hyperframe.runtime.files import exists, is_file, user_path


@attrs.frozen(kw_only=True)
class Config:
    """A complete configuration: every component found, every option known and in range."""

    name: str
    task: Choice
    target: Choice
    generator: Choice
    gauges: tuple[Choice, ...]
    entropy: Choice
    diversity: tuple[Choice, ...]
    objective: Choice
    prior: PriorOptions
    trainer: TrainerOptions
    evaluation: EvaluationOptions

    def plain(self) -> dict[str, Any]:
        """The configuration as plain data, which `read_config` reads back to an equal one."""
        plain: dict[str, Any] = {key: plain_choice(getattr(self, key)) for key in SINGLE}
        plain["gauges"] = [plain_choice(choice) for choice in self.gauges]
        plain["diversity"] = [plain_choice(choice) for choice in self.diversity]
        plain |= {key: plain_options(getattr(self, key)) for key in SECTIONS}
        return {key: plain[key] for key in KEY_HELP}

    def without_pauses(self) -> "Config":
        """The configuration of the run itself: without what only pauses it."""
        return attrs.evolve(self, trainer=attrs.evolve(self.trainer, stop_after=None, max_seconds=None))

    @property
    def pauses(self) -> dict[str, Any]:
        """The settings that only pause the run: dotted keys and their values."""
        return {f"trainer.{name}": getattr(self.trainer, name) for name in ("stop_after", "max_seconds")}

    @property
    def locations(self) -> dict[str, Any]:
        """Where data lie: dotted keys and their values."""
        chosen = self.choices.items()
        return {f"{path}.{key}": value for path, choice in chosen for key, value in choice.locations.items()}

    @property
    def before(self) -> dict[str, Any]:
        """Dotted keys of options that came after some runs, and the values that those runs had without them."""
        parts = {path: choice.before for path, choice in self.choices.items()}
        parts |= {key: values_before(getattr(self, key)) for key in SECTIONS}
        return {f"{path}.{key}": value for path, values in parts.items() for key, value in values.items()}

    def with_absolute_locations(self) -> "Config":
        """The same configuration, in which all paths of data are absolute: it means the same from another folder."""
        changed: dict[str, Any] = {key: getattr(self, key).with_absolute_locations() for key in SINGLE}
        changed |= {key: tuple(choice.with_absolute_locations() for choice in getattr(self, key)) for key in LISTS}
        return attrs.evolve(self, **changed, trainer=with_absolute_locations(self.trainer))

    def kept(self) -> dict[str, Any]:
        """Identify the run by plain data: its task, less where data lie, its target, generator, prior and the seed."""
        kept: dict[str, Any] = {key: plain_choice(getattr(self, key)) for key in ("task", "target", "generator")}
        for key in self.locations:
            section, _, name = key.partition(".")
            if section in kept:
                del kept[section][name]
        if self.prior.adds:
            kept["prior"] = plain_options(self.prior)
        return {**kept, "trainer": {"seed": self.trainer.seed}}

    @property
    def choices(self) -> dict[str, Choice]:
        """Every component that it chose, by its dotted key, such as `gauges.0`."""
        found: dict[str, Choice] = {}
        for key in (key for key in KEY_HELP if key not in SECTIONS):
            chosen = getattr(self, key)
            found |= {f"{key}.{number}": one for number, one in enumerate(chosen)} if key in LISTS else {key: chosen}
        return found


def load_config(
    source: str | Path,
    overrides: Sequence[str] | Mapping[str, Any],
    registry: Registry,
    then: Mapping[str, Any] | None = None,
) -> Config:
    """Load a configuration by its name or from a YAML file, and apply overrides.

    Args:
        source: a name that ships, or a path.
        overrides: `KEY=VALUE` texts with VALUE in YAML, or a mapping of dotted keys to values.
        registry: where components are looked up.
        then: overrides that are applied to what comes of these.

    Returns:
        The configuration; it has the source's name, or the task's where overrides change that.

    Raises:
        ConfigError: no such configuration, or anything in it that is unknown, mistyped or out of range.
        PluginError: an unknown component.

    Example:
        >>> from hyperframe.config.registry import make_plugin_manager
        >>> config = load_config("digits", ["trainer.steps=1e2"], Registry(make_plugin_manager()))
        >>> config.trainer.steps
        100
    """
    name, content = _read_source(source)
    first = apply_overrides({**DEFAULTS, **content}, override_pairs(overrides))
    config = read_config(name, apply_overrides(first, override_pairs(then or {})), registry)
    changed = "task" in content and named_section(content["task"], "task").get("name") != config.task.name
    return attrs.evolve(config, name=config.task.name) if changed else config


def override_pairs(overrides: Sequence[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Overrides as keys and values: of `KEY=VALUE` texts with VALUE in YAML, or a mapping of dotted keys to values."""
    if not isinstance(overrides, Mapping | Sequence) or isinstance(overrides, str | bytes):
        raise no_overrides(overrides)
    if isinstance(overrides, Mapping):
        return [check_override(key, value) for key, value in overrides.items()]
    return split_all(overrides)


def read_config(name: str, content: Mapping[str, Any], registry: Registry) -> Config:
    """Check plain data and make a complete configuration of it."""
    content = {**DEFAULTS, **content}
    for key in content:
        if key not in KEY_HELP:
            raise _unknown_key(str(key), content, registry)
    found: dict[str, Any] = {}
    for key, kind in SINGLE.items():
        if key not in content:
            raise ConfigError(
                f"{key}: a value is needed, the name of a {kind}; or a base that has it, such as 'base: digits'"
            )
        found[key] = choose(registry, kind, named_section(content[key], key), key)
    for key, kind in LISTS.items():
        if not isinstance(content[key], list):
            raise ConfigError(f"{key}: expected a list, such as {DEFAULTS[key]} or [], but got {shown(content[key])}")
        items = enumerate(content[key])
        found[key] = tuple(choose(registry, kind, item, f"{key}.{number}") for number, item in items)
    for key, cls in SECTIONS.items():
        section = {} if content.get(key) is None else content[key]
        if not isinstance(section, Mapping):
            raise ConfigError(f"{key}: expected keys and values, but got {shown(section)}")
        found[key] = read_options(cls, section, key)
    refuse_twice(found["evaluation"].analyses, "evaluation.analyses")
    for number, analysis in enumerate(found["evaluation"].analyses):
        choose(registry, "analysis", {"name": analysis}, f"evaluation.analyses.{number}")
    return Config(name=name, **found)


def _unknown_key(key: str, content: Mapping[str, Any], registry: Registry) -> ConfigError:
    """Make the error for a key that there is not, with the sections that have an option of this name."""
    options: dict[str, list[type[Any]]] = {section: [cls] for section, cls in SECTIONS.items()}
    for section, kind in SINGLE.items():
        chosen = named_section(content[section], section).get("name") if section in content else None
        if isinstance(chosen, str):
            options[section] = [registry.get(kind, chosen).component.options, KINDS[kind].common]
    places = [
        f"{section}.{key}"
        for section in KEY_HELP
        if any(key == key_of(field) for known in options.get(section, ()) for field in attrs.fields(known))
    ]
    if places:
        return ConfigError(f"unknown key '{key}'; did you mean {' or '.join(map(repr, places))}?")
    return ConfigError(unknown_name("key", key, KEY_HELP))


def refuse_twice(names: Sequence[str], key: str) -> None:
    """Raise `ConfigError` where a name is listed twice under a key."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{key}: '{twice}' is listed twice")


def _read_source(source: str | Path, read: tuple[Path, ...] = ()) -> tuple[str, dict[str, Any]]:
    """A configuration's name and content, over that of its base where it names one.

    Args:
        source: a name that ships, or a path.
        read: the files that lead to it by their bases.
    """
    if not isinstance(source, str | Path):
        raise ConfigError(
            f"expected a configuration's name or a YAML file, but got {shown(source)}; keys and values are overrides"
        )
    shipped = shipped_configs()
    path = shipped.get(str(source))
    if path is None:
        path = user_path(source)
        if read:
            path = read[-1].parent / path
        if not is_file(path):
            where = f"{read[-1]}: base: " if read else ""
            if exists(path):
                own, resumed = path / "config.yaml", f"--resume {shlex.quote(str(path))}"
                way = f", a run's is {own}, and {resumed} goes on with it" if is_file(own) else ""
                raise ConfigError(f"{where}{path} is a folder; a configuration is a YAML file{way}")
            if path.suffix in (".yaml", ".yml"):
                raise ConfigError(f"{where}configuration file {path} does not exist")
            raise ConfigError(
                where + unknown_name("configuration", str(source), shipped) + ", or a path to a YAML file"
            )
    if path.resolve() in [each.resolve() for each in read]:
        raise ConfigError(f"{read[-1]}: base: {source} leads back to itself: {' → '.join(map(str, (*read, path)))}")
    content = read_yaml(path)
    if "base" not in content:
        return path.stem, content
    base = content.pop("base")
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected a text, a name that ships or a path, but got {shown(base)}")
    return path.stem, apply_overrides({**DEFAULTS, **_read_source(base, (*read, path))[1]}, list(content.items()))
