"""The plugin host: finds plugins through entry points and looks components up by name.

Built-in components come through the same entry-point group as everybody else's.
"""

import importlib.metadata
import os
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import pluggy

from hyperframe import hookspecs
from hyperframe.errors import PluginError, unknown_name
from hyperframe.types import Component

OWN_DISTRIBUTION = "hyperframe-nn"
LIMIT_VARIABLE = "HYPERFRAME_PLUGINS"


@attrs.frozen(kw_only=True)
class Kind:
    """A kind of components: what the engine knows of it.

    Attributes:
        name: what messages call it.
        hook: the hook that registers such components.
        key: the key of a configuration that chooses them; empty for analyses, which are listed by name alone.
        many: True where the key holds a list.
        default: what the key holds where a configuration has nothing; None where it must say.
        help: what the key holds, in a few words.
    """

    name: str
    hook: str
    key: str = ""
    many: bool = False
    default: Any = None
    help: str = ""


_KINDS = (
    Kind(name="task", hook="hyperframe_tasks", key="task", help="data, loss and metrics"),
    Kind(name="target", hook="hyperframe_targets", key="target", help="the architecture whose weights are generated"),
    Kind(
        name="generator",
        hook="hyperframe_generators",
        key="generator",
        default="hypernetwork",
        help="what draws the weights",
    ),
    Kind(
        name="gauge",
        hook="hyperframe_gauges",
        key="gauges",
        many=True,
        default=["scale", "logit_bias"],
        help="list: symmetries that do not count as diversity",
    ),
    Kind(
        name="entropy",
        hook="hyperframe_entropy_estimators",
        key="entropy",
        default="kozachenko_leonenko",
        help="estimator that diversity terms use",
    ),
    Kind(
        name="diversity",
        hook="hyperframe_diversity_terms",
        key="diversity",
        many=True,
        default=["weight_entropy"],
        help="list: terms of the loss, each with a weight",
    ),
    Kind(
        name="objective",
        hook="hyperframe_objectives",
        key="objective",
        default="trade_off",
        help="what accuracy counts in the loss, and what the weights cost",
    ),
    Kind(name="analysis", hook="hyperframe_analyses"),
)

KINDS = {kind.name: kind for kind in _KINDS}
"""The kinds of components, by name."""


@attrs.frozen(kw_only=True)
class Source:
    """Where a plugin comes from."""

    plugin: str
    distribution: str
    version: str


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
        self.broken: list[BrokenPlugin] = []

    def add(self, plugin: Any, source: Source) -> None:
        """Register a loaded plugin; one with a hook that does not exist, or a wrong signature, counts as broken."""
        try:
            self.register(plugin, name=source.plugin)
            self.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.get_plugin(source.plugin) is plugin:
                self.unregister(plugin)
            self.broken.append(BrokenPlugin(source=source, reason=str(error)))
        else:
            self.sources[source.plugin] = source


def make_plugin_manager(
    entry_points: bool = True, extra: Iterable[Any] = (), block: Iterable[str] = ()
) -> PluginManager:
    """Make a fresh plugin manager; there is no global one.

    The variable HYPERFRAME_PLUGINS, names of distributions or entry points with commas between them, limits third-party
    plugins to those; the built-in ones always load. A plugin whose import fails is kept in `broken` with its
    distribution and the reason, and all others go on working.

    Args:
        entry_points: load what installed distributions declare in the entry-point group `hyperframe`.
        extra: further plugins, modules or objects with hook implementations.
        block: names of entry points to leave out.

    Raises:
        PluginError: one of `extra` has a hook that does not exist or a wrong signature.
    """
    manager = PluginManager()
    blocked = set(block)
    chosen = os.environ.get(LIMIT_VARIABLE)
    allowed = None if chosen is None else {name.strip() for name in chosen.split(",")}
    if entry_points:
        for point in importlib.metadata.entry_points(group=hookspecs.GROUP):
            distribution = point.dist.name if point.dist else "unknown"
            version = point.dist.version if point.dist else ""
            source = Source(plugin=point.name, distribution=distribution, version=version)
            own = distribution == OWN_DISTRIBUTION
            if point.name in blocked or not (own or allowed is None or allowed & {point.name, distribution}):
                continue
            if not own:
                source = attrs.evolve(source, plugin=f"{distribution}:{point.name}")
            try:
                plugin = point.load()
            # Whatever a third party's module raises on import must be reported, and must not stop the rest.
            except Exception as error:  # noqa: BLE001
                manager.broken.append(BrokenPlugin(source=source, reason=f"{type(error).__name__}: {error}"))
            else:
                manager.add(plugin, source)
    _add_all(manager, extra)
    return manager


def _add_all(manager: PluginManager, extra: Iterable[Any], first: int = 0) -> None:
    """Register plugins that are handed over, numbered from `first`; raises `PluginError` where one has a wrong hook."""
    broken = len(manager.broken)
    for number, plugin in enumerate(extra, first):
        name = getattr(plugin, "__name__", type(plugin).__name__)
        manager.add(plugin, Source(plugin=f"{name}#{number}", distribution=name, version=""))
    if manager.broken[broken:]:
        raise PluginError("; ".join(map(str, manager.broken[broken:])))


class Registry:
    """Looks components up by kind and name.

    Raises:
        PluginError: two plugins register one name for a kind; the message names both.

    Example:
        >>> registry = Registry(make_plugin_manager())
        >>> registry.get("target", "mnist_cnn").component.summary
        "the paper's MNIST network: two convolutions, two dense layers, 20,018 weights"
    """

    def __init__(self, manager: PluginManager) -> None:
        self.manager = manager
        self._components: dict[str, dict[str, Registered]] = {}
        for kind, row in KINDS.items():
            table: dict[str, Registered] = {}
            self._components[kind] = table
            for implementation in getattr(manager.hook, row.hook).get_hookimpls():
                source = manager.sources[implementation.plugin_name]
                for component in self._components_of(implementation, source):
                    other = table.get(component.name)
                    if other is not None:
                        raise PluginError(
                            f"{kind} '{component.name}' is registered twice: by {_owner(other.source)} and by "
                            f"{_owner(source)}; uninstall one, or leave one out with {LIMIT_VARIABLE}"
                        )
                    table[component.name] = Registered(kind=kind, component=component, source=source)

    def _components_of(self, implementation: pluggy.HookImpl, source: Source) -> Sequence[Component]:
        try:
            components = implementation.function()
            if not isinstance(components, list) or not all(isinstance(item, Component) for item in components):
                raise TypeError(f"{implementation.function.__name__} must return a list of Components")
        # As with imports: a third party's mistake is reported and the rest keeps working.
        except Exception as error:  # noqa: BLE001
            self.manager.broken.append(BrokenPlugin(source=source, reason=f"{type(error).__name__}: {error}"))
            return []
        return components

    def extended(self, extra: Iterable[Any]) -> "Registry":
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
        message = unknown_name(kind, name, table, owners)
        if os.environ.get(LIMIT_VARIABLE) is not None:
            message += f"\nThe variable {LIMIT_VARIABLE}='{os.environ[LIMIT_VARIABLE]}' leaves out other distributions."
        if self.manager.broken:
            message += "\nNot loaded: " + "; ".join(map(str, self.manager.broken))
        raise PluginError(message)

    def all(self) -> list[Registered]:
        """All components, by kind and name."""
        return [table[name] for table in self._components.values() for name in sorted(table)]


def _owner(source: Source) -> str:
    version = f" {source.version}" if source.version else ""
    return f"{source.distribution}{version} (plugin '{source.plugin}')"
