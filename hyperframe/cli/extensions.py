"""Commands that plugins add to the command line."""

import copy
from functools import partial

import click

from hyperframe.config.registry import PluginManager
from hyperframe.errors import Forgiven, described, notice


def with_plugins(group: click.Group, manager: PluginManager) -> click.Group:
    """The commands of a group and those that plugins add; what goes wrong with a plugin's is a notice."""
    result = copy.copy(group)
    result.commands = dict(group.commands)
    for implementation in manager.hook.hyperframe_commands.get_hookimpls():
        own, source = click.Group(), manager.sources[implementation.plugin_name]
        with Forgiven(partial(_without_commands, source.distribution)):
            implementation.function(**({"cli": own} if "cli" in implementation.argnames else {}))
        for name, command in own.commands.items():
            if name in result.commands:
                notice(f"{source.distribution} adds a command '{name}', which there is already; it is left out")
            else:
                result.add_command(command, name)
    return result


def _without_commands(distribution: str, error: BaseException) -> None:
    """A third party's mistake: the other commands go on working."""
    notice(f"{distribution} could not add its commands: {described(error)}")
