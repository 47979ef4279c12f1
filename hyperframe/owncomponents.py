"""The components that an analysis of a run can choose from: all that are installed, and the run's own."""

from collections.abc import Mapping

from hyperframe.errors import PluginError
from hyperframe.hookspecs import hookimpl
from hyperframe.plugins import Registry, make_plugin_manager
from hyperframe.run import Run
from hyperframe.types import Component


class OwnComponents:
    """A plugin with a run's own target and task, where these were typed or handed over and are not installed."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self.components = components

    @hookimpl
    def hyperframe_targets(self) -> list[Component]:
        """The target, where it is one of them."""
        return [self.components["target"]] if "target" in self.components else []

    @hookimpl
    def hyperframe_tasks(self) -> list[Component]:
        """The task, where it is one of them."""
        return [self.components["task"]] if "task" in self.components else []


def registry_of(run: Run) -> Registry:
    """All components that are installed, and a run's own."""
    registry, own = Registry(make_plugin_manager()), {}
    for kind, choice in (("target", run.config.target), ("task", run.config.task)):
        try:
            registry.get(kind, choice.name)
        except PluginError:
            own[kind] = choice.registered.component
    return registry.extended([OwnComponents(own)]) if own else registry
