"""Commands that only look: the runs of a folder, what a target is like, complete configurations, the installation."""

import sys

import click

from hyperframe.cli.arguments import Command, ExaminingCommand, json_option, registry_for, split_arguments
from hyperframe.cli.completion import complete_settings

BROKEN = 1
"""Exit code where `doctor` finds something broken: it has done what it should."""


@click.command(cls=Command)
@click.argument("folder", type=click.Path(), default="runs", metavar="[DIR]")
@json_option
def runs(folder: str, json_wanted: bool) -> None:
    """List the runs in a folder, by default runs/, with their state, step and first metric."""
    from hyperframe.cli import tables
    from hyperframe.runs.listing import list_runs
    from hyperframe.runtime.files import as_json, user_path

    rows = list_runs(user_path(folder))
    if json_wanted:
        click.echo(as_json({"runs": rows}))
    elif rows:
        tables.print_runs(rows)
    else:
        click.echo(f"no runs in {folder}")


@click.command(name="describe", cls=Command)
@click.argument("arguments", nargs=-1, metavar="[TARGET] [KEY=VALUE]...", shell_complete=complete_settings)
@click.option(
    "--config",
    "source",
    default="digits",
    show_default=True,
    shell_complete=complete_settings,
    help="The configuration to describe.",
)
@json_option
def describe_command(arguments: tuple[str, ...], source: str, json_wanted: bool) -> None:
    """Show a target's layers, filters and symmetries, the generator's size, and the memory of a training step."""
    from hyperframe.cli import tables
    from hyperframe.config.schema import load_config
    from hyperframe.experiment.describe import describe
    from hyperframe.runtime.files import as_json

    target, overrides = split_arguments(arguments, "")
    overrides = [*([f"target={target}"] if target else []), *overrides]
    content = describe(load_config(source, overrides, registry_for(overrides)))
    if json_wanted:
        click.echo(as_json(content))
    else:
        tables.print_description(content)


@click.command(name="config", cls=Command)
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...", shell_complete=complete_settings)
@click.option("--list", "listed", is_flag=True, help="List the configurations that ship.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of configuration files, for editors.")
def config_command(arguments: tuple[str, ...], listed: bool, schema: bool) -> None:
    """Print a complete configuration as YAML, with a comment for every key.

    --schema has every key and every component that is installed, and takes no arguments. With it in a file, such as
    hyperframe.json, editors with yaml-language-server complete and check a configuration that begins with the line:

    # yaml-language-server: $schema=hyperframe.json
    """
    from hyperframe.api import make_registry
    from hyperframe.config.documents.commented_yaml import commented_yaml
    from hyperframe.config.documents.json_schema import json_schema
    from hyperframe.config.schema import load_config
    from hyperframe.config.sections import shipped_configs
    from hyperframe.runtime.files import as_json

    if arguments and (listed or schema):
        raise click.UsageError("--list and --schema are about all configurations, and take no CONFIG and no KEY=VALUE")
    if schema:
        click.echo(as_json(json_schema(make_registry()), indent=2))
        return
    if listed:
        click.echo("\n".join(shipped_configs()))
        return
    source, overrides = split_arguments(arguments, "digits")
    config = load_config(source, overrides, registry_for(overrides))
    click.echo(commented_yaml(config), nl=False)


@click.command(cls=ExaminingCommand)
@json_option
def doctor(json_wanted: bool) -> None:
    """Look at the installation and the machine, and say what is broken.

    Versions of all that is needed, each of which is imported; what is optional; the disk where runs go; processor,
    devices and memory; plugins and commands of other distributions; and published data sets, whose files are read for
    ten seconds at most. What is absent and not needed, such as a data set, is no fault. The exit code is 1 where
    something is broken.
    """
    import json

    from hyperframe.cli.doctor import as_lines, examine
    from hyperframe.runtime.terminal import printable

    found = examine()
    if json_wanted:
        click.echo(json.dumps({**found.parts, "problems": found.problems}))
    else:
        click.echo(printable("\n".join(as_lines(found))))
    if found.problems:
        sys.exit(BROKEN)
