"""Commands that plugins add to the command line."""

import copy

import click

from hyperframe.errors import STOPPED, notice
from hyperframe.plugins import PluginManager, described


def with_plugins(group: click.Group, manager: PluginManager) -> click.Group:
    """The commands of a group and those that plugins add; what goes wrong with a plugin's is a notice."""
    result = copy.copy(group)
    result.commands = dict(group.commands)
    for implementation in manager.hook.hyperframe_commands.get_hookimpls():
        own, source = click.Group(), manager.sources[implementation.plugin_name]
        try:
            implementation.function(**({"cli": own} if "cli" in implementation.argnames else {}))
        except STOPPED:
            raise
        # A third party's mistake: the other commands go on working.
        except BaseException as error:  # noqa: BLE001
            notice(f"{source.distribution} could not add its commands: {described(error)}")
        for name, command in own.commands.items():
            if name in result.commands:
                notice(f"{source.distribution} adds a command '{name}', which there is already; it is left out")
            else:
                result.add_command(command, name)
    return result
