"""The plugin host: finds plugins through entry points and looks components up by name.

Built-in components come through the same entry-point group as everybody else's.
"""

import os
import re
from collections.abc import Iterable, Sequence
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import attrs
import pluggy

from hyperframe import hookspecs
from hyperframe.component import Component
from hyperframe.config.kinds import KINDS, Kind
from hyperframe.entry_points import LIMIT_VARIABLE, OWN_DISTRIBUTION, Source, find_entry_points
from hyperframe.errors import Forgiven, PluginError, described, notice, unknown_name
from hyperframe.options import key_of

MARK = f"{hookspecs.GROUP}_impl"
"""The attribute by which pluggy knows a function that is marked as a hook."""
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(f"{hookspecs.GROUP}_"))
NAME = re.compile(r"[\w-][\w.:-]*")
"""The form of a component's name; `package.module:function` is one too."""
CALLED = (FunctionType, MethodType, staticmethod, classmethod)
"""Types of what can be marked; others are not asked, since they may answer anything."""


@attrs.frozen(kw_only=True)
class BrokenPlugin:
    """A plugin that could not be loaded, and why."""

    source: Source
    reason: str

    def __str__(self) -> str:
        return f"plugin '{self.source.plugin}' of {self.source.distribution} {self.source.version}: {self.reason}"


@attrs.frozen(kw_only=True)
class Registered:
    """A component and where it comes from."""

    kind: str
    component: Component
    source: Source

    def plain(self) -> dict[str, str]:
        """Kind, name, distribution and version, as plain data."""
        source = self.source
        name = self.component.name
        return {"kind": self.kind, "name": name, "distribution": source.distribution, "version": source.version}


class PluginManager(pluggy.PluginManager):
    """Pluggy's manager, which also knows each plugin's distribution and what could not be loaded."""

    def __init__(self) -> None:
        super().__init__(hookspecs.GROUP)
        self.add_hookspecs(hookspecs)
        self.sources: dict[str, Source] = {}
        self.handed_over: set[str] = set()
        self.broken: list[BrokenPlugin] = []

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> pluggy.HookimplOpts | None:
        """Read how a name of a plugin is marked as a hook; what a module has that is not marked is soon passed over."""
        if isinstance(plugin, ModuleType):
            value = vars(plugin).get(name)
            if not isinstance(value, CALLED) or not hasattr(value, MARK):
                return None
        found = super().parse_hookimpl_opts(plugin, name)
        if found is not None and (found["specname"] or name) not in HOOKS and not found["optionalhook"]:
            raise PluginError(unknown_name("hook", found["specname"] or name, HOOKS))
        return found

    def add(self, plugin: Any, source: Source) -> None:
        """Register a loaded plugin; one with a hook that does not exist, or a wrong signature, counts as broken."""

        def failed(error: BaseException) -> None:
            if self.get_plugin(source.plugin) is plugin:
                self.unregister(plugin)
            expected = isinstance(error, pluggy.PluginValidationError | ValueError | PluginError)
            self.leave_out(source, str(error) if expected else described(error))

        with Forgiven(failed):  # registering looks at all that the plugin has
            self.register(plugin, name=source.plugin)
            self.check_pending()
            self.sources[source.plugin] = source
            for name in HOOKS:
                function = getattr(plugin, name, None)
                if isinstance(function, CALLED) and not hasattr(function, MARK):
                    self.leave_out(source, f"its function {name} is not marked with @hookimpl, and so never called")

    def reporters(self, run: Any) -> list[tuple[str, Any]]:
        """Ask plugins for those who observe a run's training, with distributions; one that fails is left out, named."""
        found: list[tuple[str, Any]] = []
        for implementation in reversed(self.hook.hyperframe_reporters.get_hookimpls()):
            owner = self.sources[implementation.plugin_name].distribution
            # Whoever only looks on must not keep a training from beginning.
            with Forgiven(partial(_told_of_reporter, owner)):
                made: Any = implementation.function(**({"run": run} if implementation.argnames else {}))
                found += [(owner, reporter) for reporter in made]
        return found

    def loading(self, source: Source) -> Forgiven:
        """Within this a third party's mistake is noted, and what comes behind goes on."""
        return Forgiven(lambda error: self.leave_out(source, described(error)))

    def leave_out(self, source: Source, reason: str) -> None:
        """Note why a plugin, or a component of it, is not there; once, however often it is found."""
        item = BrokenPlugin(source=source, reason=reason)
        if item not in self.broken:
            self.broken.append(item)


def _told_of_reporter(owner: str, error: BaseException) -> None:
    notice(f"{owner} does not observe this training, since its hyperframe_reporters failed: {described(error)}")


def make_plugin_manager(
    entry_points: bool = True, extra: Iterable[Any] = (), block: Iterable[str] = ()
) -> PluginManager:
    """Make a fresh plugin manager; there is no global one.

    A plugin whose import fails is kept in `broken` with its distribution and the reason, and all others go on working.

    Args:
        entry_points: load what installed distributions declare in the entry-point group `hyperframe`, within the limits
            of `find_entry_points`; the built-in components always load.
        extra: further plugins, modules or objects with hook implementations.
        block: names of entry points to leave out.

    Raises:
        PluginError: one of `extra` has a hook that does not exist or a wrong signature.
    """
    manager = PluginManager()
    blocked = set(block)
    if entry_points:
        for point, source in find_entry_points(hookspecs.GROUP):
            if point.name not in blocked:
                with manager.loading(source):
                    manager.add(point.load(), source)
    _add_all(manager, extra)
    return manager


def _add_all(manager: PluginManager, extra: Iterable[Any], first: int = 0) -> None:
    """Register plugins that are handed over, numbered from `first`; raises `PluginError` where one has a wrong hook."""
    broken = len(manager.broken)
    for number, plugin in enumerate(extra, first):
        name = getattr(plugin, "__name__", type(plugin).__name__)
        source = Source(plugin=f"{name}#{number}", distribution=name, version="")
        manager.handed_over.add(source.plugin)
        manager.add(plugin, source)
    if manager.broken[broken:]:
        raise PluginError("; ".join(map(str, manager.broken[broken:])))


class Registry:
    """Looks components up by kind and name.

    Where two plugins register one name for a kind, a built-in component stays and the other one is left out; of two
    third parties' neither is taken, since which one was meant is not known. `broken` names both plugins.

    Raises:
        PluginError: a plugin that was handed over registers a name that is taken.

    Example:
        >>> registry = Registry(make_plugin_manager())
        >>> registry.get("target", "mnist_cnn").component.summary
        "the paper's MNIST network: two convolutions, two dense layers, 20,018 weights"
    """

    def __init__(self, manager: PluginManager) -> None:
        self.manager = manager
        self._components: dict[str, dict[str, Registered]] = {}
        disputed: set[tuple[str, str]] = set()
        for kind, row in KINDS.items():
            table: dict[str, Registered] = {}
            self._components[kind] = table
            for implementation in getattr(manager.hook, row.hook).get_hookimpls():
                source = manager.sources[implementation.plugin_name]
                for component in self._components_of(implementation, source, row):
                    entry = Registered(kind=kind, component=component, source=source)
                    if not self._add(table, entry):
                        disputed.add((kind, component.name))
        for kind, name in disputed:
            del self._components[kind][name]

    def _add(self, table: dict[str, Registered], entry: Registered) -> bool:
        """Add a component to those of its kind where its name is free; False where nobody may have the name."""
        name, source = entry.component.name, entry.source
        other = table.setdefault(name, entry)
        if other is entry:
            return True
        message = (
            f"{entry.kind} '{name}' is registered twice: by {_owner(other.source)} and by {_owner(source)}; "
            f"uninstall one, or leave one out with {LIMIT_VARIABLE}"
        )
        if other.source == source:
            message = f"{entry.kind} '{name}' is registered twice by {_owner(source)}; name one of them otherwise"
        if source.plugin in self.manager.handed_over:
            raise PluginError(message)
        both = (other, entry)
        kept = next((one for one in both if one.source.distribution == OWN_DISTRIBUTION), None)
        table[name] = kept or other
        for one in both:
            if one is not kept:
                self.manager.leave_out(one.source, message)
        return kept is not None

    def _components_of(self, implementation: pluggy.HookImpl, source: Source, kind: Kind) -> Sequence[Component]:
        with self.manager.loading(source):
            components: Any = implementation.function()
            if not isinstance(components, list) or not all(isinstance(item, Component) for item in components):
                raise TypeError(f"{implementation.function.__name__} must return a list of Components")
            for item in components:
                if not isinstance(item.name, str) or not item.name:
                    raise TypeError(f"the name of a component must be a text, not {item.name!r}")
                if not NAME.fullmatch(item.name):
                    # Commas have a meaning where it is typed, and analyses have a folder of their name.
                    raise TypeError(
                        f"the name of a component is of letters, digits and _-.: behind them, and not {item.name!r}"
                    )
                own = attrs.fields(item.options) if attrs.has(item.options) else ()
                taken = {key_of(field) for field in own} & {*kind.common_keys}
                if taken:
                    raise TypeError(f"{kind.name} '{item.name}': the key '{min(taken)}' is that of every {kind.name}")
            return list(components)
        return []

    def with_plugins(self, extra: Iterable[Any]) -> "Registry":
        """A registry with the same plugins and some more; this one stays as it is.

        Raises:
            PluginError: as `make_plugin_manager`, and as a registry itself.
        """
        manager = PluginManager()
        manager.broken = list(self.manager.broken)
        for name, source in self.manager.sources.items():
            manager.add(self.manager.get_plugin(name), source)
        _add_all(manager, extra, len(manager.sources))
        return Registry(manager)

    def get(self, kind: str, name: str) -> Registered:
        """Return a component; raises `PluginError` with the closest name, and what could not be loaded."""
        table = self._components[kind]
        if name in table:
            return table[name]
        if kind == "target" and ":" in name:
            raise PluginError(
                f"target '{name}' is code of one's own, which counts only where you type it yourself: target={name} "
                f"for 'hyperframe train', --target {name} for other commands, target='{name}' in Python"
            )
        owners = {known: entry.source.distribution for known, entry in table.items()}
        raise PluginError(unknown_name(kind, name, table, owners) + self.left_out)

    @property
    def left_out(self) -> str:
        """What is not there and why, as the lines that end a message about a name that is unknown."""
        message = ""
        if os.environ.get(LIMIT_VARIABLE) is not None:
            message += f"\nThe variable {LIMIT_VARIABLE}='{os.environ[LIMIT_VARIABLE]}' leaves out other distributions."
        if self.manager.broken:
            message += "\nNot loaded: " + "; ".join(map(str, self.manager.broken))
        return message

    def all(self) -> list[Registered]:
        """All components, by kind and name."""
        return [table[name] for table in self._components.values() for name in sorted(table)]


def _owner(source: Source) -> str:
    version = f" {source.version}" if source.version else ""
    return f"{source.distribution}{version} (plugin '{source.plugin}')"
