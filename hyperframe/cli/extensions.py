"""Commands that other distributions add to the command line."""

import copy
from typing import Any

import click

from hyperframe.entry_points import Source, find_entry_points
from hyperframe.errors import PluginError, described, notice, others_code

GROUP = "hyperframe.commands"
"""The entry points of commands: a name, and where the click command is that it stands for."""


def begin_work(context: click.Context) -> None:
    """Do what comes before a command's body; the outermost context's `obj` is called, where there is one."""
    begin = context.find_root().obj
    if begin is not None:
        begin()


def with_plugins(group: click.Group) -> click.Group:
    """The commands of a group and those that distributions add; one whose name is taken is a notice."""
    result = copy.copy(group)
    result.commands = dict(group.commands)
    for point, source in find_entry_points(GROUP):
        if point.name in result.commands:
            notice(f"{source.distribution} adds a command '{point.name}', which there is already; it is left out")
        else:
            result.add_command(Added(point, source))
    return result


class Added(click.Command):
    """Stands for a distribution's command, which is imported when it is called: it may import torch, or fail."""

    def __init__(self, point: Any, source: Source) -> None:
        super().__init__(point.name, short_help=f"Added by {source.distribution} {source.version}".rstrip() + ".")
        self.point, self.source = point, source

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make the context of the command itself, which click then runs.

        Raises:
            PluginError: it cannot be imported, or is no command.
        """
        where = f"{self.source.distribution} {self.source.version}: the command '{self.name}' ({self.point.value})"
        with others_code(lambda error: PluginError(f"{where} cannot be imported: {described(error)}")):
            command = self.point.load()
        if not isinstance(command, click.Command):
            raise PluginError(f"{where} must be a click command, not {type(command).__name__}")
        context = command.make_context(info_name, args, parent, **extra)
        if not context.resilient_parsing:  # which is how completions are found
            begin_work(context)
        return context
