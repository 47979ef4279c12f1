"""The command line."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import click

from hyperframe.cli.commands.analyse import analyse_command
from hyperframe.cli.commands.bench import bench
from hyperframe.cli.commands.compare import compare_command
from hyperframe.cli.commands.components import check, new_plugin_command, plugins
from hyperframe.cli.commands.distill import distill_command
from hyperframe.cli.commands.evaluate import evaluate
from hyperframe.cli.commands.inspect import config_command, describe_command, doctor, runs
from hyperframe.cli.commands.predict import predict
from hyperframe.cli.commands.report import report_command
from hyperframe.cli.commands.sample import export, sample
from hyperframe.cli.commands.sweep import sweep_command
from hyperframe.cli.commands.train import train
from hyperframe.cli.extensions import with_plugins
from hyperframe.errors import ConfigError, HyperframeError, HyperframeWarning
from hyperframe.runtime.signals import end_on_signals
from hyperframe.runtime.terminal import printable, ranks

USER_MISTAKE = 2


def run_command_line(begin: Callable[[], None] | None = None) -> None:
    """Run the command; a user's mistake gives one message and exit code 2, never a traceback.

    Args:
        begin: is called once before a command's body, and not for help, completions and wrong arguments.
    """
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", HyperframeWarning)
    end_on_signals()
    try:
        with_plugins(main)(standalone_mode=False, obj=begin)
    except HyperframeError as error:
        click.echo(printable(f"hyperframe: {error}"), err=True)
        sys.exit(USER_MISTAKE)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:  # of several processes each finds it
        if ranks().first:
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it at once
        click.echo("hyperframe: interrupted", err=True)
        sys.exit(128 + signal.SIGINT)
    except OSError as error:  # what the library writes itself has messages of its own
        if error.strerror is None:  # not the system's: a library that torch needs cannot be loaded
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for what is still to be flushed)
        if not isinstance(error, BrokenPipeError):  # whoever reads has seen enough
            click.echo(f"hyperframe: the output cannot be written: {error.strerror}", err=True)
        sys.exit(128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else USER_MISTAKE)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Show the library's own warnings as messages, all others as Python does; of several processes the first shows."""
    if not ranks().first:
        return
    if issubclass(category, HyperframeWarning):
        click.echo(printable(f"hyperframe: {message}"), err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, nl=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hyperframe-nn", prog_name="hyperframe")
@click.pass_context
def main(context: click.Context) -> None:
    """Train a generator of neural networks, and work with what it generates."""
    started, command = ranks(), context.invoked_subcommand
    if started.alone or command == train.name:
        return
    if not started.first:
        sys.exit(USER_MISTAKE)
    raise ConfigError(
        f"torchrun has started {started.count} processes, and of all commands only 'train' shares its work among "
        f"them; start 'hyperframe {command}' without torchrun"
    )


COMMANDS = (
    train,
    evaluate,
    analyse_command,
    sample,
    predict,
    report_command,
    distill_command,
    export,
    compare_command,
    sweep_command,
    runs,
    describe_command,
    config_command,
    plugins,
    check,
    new_plugin_command,
    doctor,
    bench,
)
for _command in COMMANDS:
    main.add_command(_command)
