"""Components that a configuration chose, with their options."""

from collections.abc import Sequence
from typing import Any

import attrs

from hyperframe.config.kinds import KINDS, check_component
from hyperframe.config.overrides import as_section
from hyperframe.config.registry import Registered, Registry
from hyperframe.errors import ConfigError, HyperframeError, MemoryShortageError, PluginError, described, others_code
from hyperframe.options import (
    keys_of_task,
    locations,
    named_task,
    plain_options,
    read_options,
    shown,
    values_before,
    with_absolute_locations,
)
from hyperframe.runtime.memory import is_out_of_memory
from hyperframe.types import NoOptions, Task


@attrs.frozen(kw_only=True)
class Choice:
    """A component that a configuration chose, with its options.

    Attributes:
        registered: the component.
        options: its options.
        common: options that every component of its kind has, see `Kind`.
        open: keys of options that are left to the task; until `fit` these are the defaults.
        other_task: the task that a diversity term's option names, with default options.
    """

    registered: Registered
    options: Any
    common: Any = attrs.field(factory=NoOptions)
    open: frozenset[str] = frozenset()
    other_task: "Choice | None" = None

    @property
    def name(self) -> str:
        """The component's name."""
        return self.registered.component.name

    def fit(self, task: Task) -> "Choice":
        """The same choice, with the task's own values for options that were left to it.

        Raises:
            ConfigError: the options do not admit a value of the task's.
            PluginError: an option is declared to be what the task does not have.
        """
        if not self.open:
            return self
        known = keys_of_task(type(self.options))
        plain = plain_options(self.options)
        for key in self.open:
            if not hasattr(task, known[key]):
                raise PluginError(
                    f"{self.described}: its option '{key}' is declared with of_task='{known[key]}', which task "
                    f"'{task.name}' does not have"
                )
            plain[key] = _as_of_task(getattr(task, known[key]), plain[key])
        try:
            options = read_options(type(self.options), plain, self.registered.kind)
        except ConfigError as error:
            raise ConfigError(f"{error}; {', '.join(sorted(self.open))} as task '{task.name}' has it") from error
        return attrs.evolve(self, options=options, open=frozenset())

    def with_absolute_locations(self) -> "Choice":
        """The same choice, in which all paths of data are absolute."""
        own, common = with_absolute_locations(self.options), with_absolute_locations(self.common)
        return attrs.evolve(self, options=own, common=common)

    @property
    def locations(self) -> dict[str, Any]:
        """Where data lie: keys and values."""
        common = {key: value for key, value in locations(self.common).items() if isinstance(value, str)}
        return {**common, **locations(self.options)}

    @property
    def before(self) -> dict[str, Any]:
        """Keys of options that came after some runs, and the values that those runs had without them."""
        return {**values_before(self.common), **values_before(self.options)}

    def make(self, *arguments: Any) -> Any:
        """Call the component's factory with its options and these arguments.

        Raises:
            PluginError: the factory fails for a reason of its own, or makes what is no such component; the message
                names the component's distribution.
            MemoryShortageError: what its options ask for does not fit into memory.
        """
        # What fails is reported with the name of who can mend it.
        with others_code(self._failed):
            made = self.registered.component.factory(self.options, *arguments)
        base = KINDS[self.registered.kind].base
        if base is not None:
            check_component(made, base, self.described)
        return made

    def _failed(self, error: BaseException) -> HyperframeError:
        if is_out_of_memory(error):
            return MemoryShortageError(f"{self.described} does not fit into memory; take smaller options")
        return PluginError(f"{self.described}: its factory failed: {described(error)}")

    @property
    def described(self) -> str:
        """The component and its distribution, for messages."""
        source = self.registered.source
        return f"{self.registered.kind} '{self.name}' of {source.distribution} {source.version}".rstrip()


def choose(registry: Registry, kind: str, section: Any, path: str) -> Choice:
    """Find a component and read its options.

    Args:
        registry: where it is looked up.
        kind: of `hyperframe.config.kinds.KINDS`.
        section: its name, or a mapping with `name` and options.
        path: where the section stands, for messages.

    Raises:
        ConfigError: an option that is unknown, mistyped, out of range or missing.
        PluginError: there is no such component, or an option's default is no value of it.
    """
    section = as_section(section, path)
    if not isinstance(section.get("name"), str):
        raise ConfigError(f"{path}.name: expected a text, the name of a {kind}, but got {shown(section.get('name'))}")
    registered = registry.get(kind, section["name"])
    options = {key: value for key, value in section.items() if key != "name"}
    known, shared = registered.component.options, KINDS[kind]
    common = {key: options.pop(key) for key in shared.common_keys if key in options}
    left = frozenset(key for key in keys_of_task(known) if options.get(key) is None)
    options = {key: value for key, value in options.items() if key not in left}
    read = read_options(known, options, path, beside=shared.common)
    key, named = named_task(read)
    other = None if named is None else choose(registry, "task", named, f"{path}.{key}")
    choice = Choice(
        registered=registered,
        options=read,
        common=read_options(shared.common, common, path),
        open=left,
        other_task=other,
    )
    try:
        read_options(known, plain_options(read), path)
    except ConfigError as error:  # what the user gave was read, so it is a default
        raise PluginError(
            f"{choice.described}: an option has a default that could not be read from a run folder again: {error}"
        ) from error
    return choice


def plain_choice(choice: Choice) -> dict[str, Any]:
    """A choice as plain data, which `choose` reads back to an equal one; what is left to the task is null."""
    own = {**plain_options(choice.options), **dict.fromkeys(sorted(choice.open))}
    return {"name": choice.name, **own, **plain_options(choice.common)}


def _as_of_task(value: Any, default: Any) -> Any:
    """Turn what a task has into an option's form; one number for a shape is the side of square images in colours."""
    if not (isinstance(value, Sequence) and isinstance(default, int)):
        return value
    return value[-1] if len(value) == 3 and value[0] == 3 and value[1] == value[2] else default
