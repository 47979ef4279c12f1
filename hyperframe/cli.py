"""The command line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hyperframe import tables
from hyperframe.api import installed
from hyperframe.config import Config, load_config, shipped_configs
from hyperframe.describe import describe
from hyperframe.errors import HyperframeError
from hyperframe.files import as_json, is_file
from hyperframe.overrides import KEY_HELP
from hyperframe.reference import commented_yaml
from hyperframe.run import load_run
from hyperframe.trainer import Silent, train_run

USER_MISTAKE = 2
F = TypeVar("F", bound=Callable[..., Any])


def run_command_line() -> None:
    """Run the command; a user's mistake gives one message and exit code 2, never a traceback."""
    try:
        main(standalone_mode=False)
    except HyperframeError as error:
        click.echo(f"hyperframe: {error}", err=True)
        sys.exit(USER_MISTAKE)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("hyperframe: interrupted", err=True)
        sys.exit(130)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hyperframe-nn", prog_name="hyperframe")
def main() -> None:
    """Train a generator of neural networks, and work with what it generates."""


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "json_wanted", is_flag=True, help="Print JSON, for programs.")(command)


def split_arguments(arguments: tuple[str, ...], default: str) -> tuple[str, list[str]]:
    """Split `[CONFIG] [KEY=VALUE…]`: the first argument is the configuration unless it is an override."""
    first = arguments[0] if arguments else ""
    names_key = "=" in first and first.partition("=")[0].partition(".")[0] in KEY_HELP
    if first and not names_key and ("=" not in first or is_file(Path(first))):
        return arguments[0], list(arguments[1:])
    return default, list(arguments)


@main.command()
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...")
@click.option("--out", type=click.Path(), help="The run folder, absent or empty. [default: a new one under runs/]")
@json_option
def train(arguments: tuple[str, ...], out: str | None, json_wanted: bool) -> None:
    """Train a generator, evaluate it on the test set, and name the run folder.

    CONFIG is a name that ships or a YAML file; the default is digits. KEY=VALUE changes a key of it, such as
    trainer.steps=500 or gauges=[scale]. 'hyperframe config' shows all keys.
    """
    source, overrides = split_arguments(arguments, "digits")
    registry = installed()
    config = load_config(source, overrides, registry)
    if json_wanted:
        run = train_run(config, registry, out, Silent())
        click.echo(as_json(run.evaluate()))
        return
    with tables.ProgressReporter(config.trainer.steps) as reporter:
        run = train_run(config, registry, out, reporter)
    tables.print_evaluation(run.evaluate())
    click.echo(f"run folder: {run.folder}")


@main.command()
@click.argument("run", type=click.Path())
@click.option("-n", "--networks", type=click.IntRange(min=1), help="How many networks to draw.")
@click.option(
    "--split", type=click.Choice(["test", "validation"]), default="test", show_default=True, help="Which data."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the draws. [default: evaluation.seed]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")
@json_option
def evaluate(run: str, networks: int | None, split: str, seed: int | None, device: str, json_wanted: bool) -> None:
    """Draw networks from a trained generator and measure them, alone and as an ensemble.

    RUN is a run folder. The figures are kept in RUN/analyses/evaluation/results.json too.
    """
    figures = load_run(run, installed(), device).evaluate(networks, split, seed)
    if json_wanted:
        click.echo(as_json(figures))
    else:
        tables.print_evaluation(figures)


@main.command(name="describe")
@click.argument("arguments", nargs=-1, metavar="[TARGET] [KEY=VALUE]...")
@click.option("--config", "source", default="digits", show_default=True, help="The configuration to describe.")
@json_option
def describe_command(arguments: tuple[str, ...], source: str, json_wanted: bool) -> None:
    """Show a target's layers, filters and symmetries, the generator's size, and the memory of a training step."""
    target, overrides = split_arguments(arguments, "")
    overrides = [*([f"target={target}"] if target else []), *overrides]
    content = describe(load_config(source, overrides, installed()))
    if json_wanted:
        click.echo(as_json(content))
    else:
        tables.print_description(content)


@main.command(name="config")
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...")
@click.option("--list", "listed", is_flag=True, help="List the configurations that ship.")
def config_command(arguments: tuple[str, ...], listed: bool) -> None:
    """Print a complete configuration as YAML, with a comment for every key."""
    if listed:
        click.echo("\n".join(shipped_configs()))
        return
    source, overrides = split_arguments(arguments, "digits")
    config: Config = load_config(source, overrides, installed())
    click.echo(commented_yaml(config), nl=False)


@main.command()
@json_option
def plugins(json_wanted: bool) -> None:
    """List all components that are installed, and the plugins that could not be loaded."""
    registry = installed()
    components, broken = registry.all(), registry.manager.broken
    if not json_wanted:
        tables.print_plugins(components, broken)
        return
    rows = [{**entry.plain(), "summary": entry.component.summary} for entry in components]
    failures = [
        {"plugin": item.source.plugin, "distribution": item.source.distribution, "reason": item.reason}
        for item in broken
    ]
    click.echo(as_json({"components": rows, "not_loaded": failures}))
