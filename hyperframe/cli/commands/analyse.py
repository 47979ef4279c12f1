"""The command `analyse`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hyperframe.cli.arguments import Command, json_option, open_run, run_options, split_overrides

if TYPE_CHECKING:
    from hyperframe.config.registry import Registry


@click.command(name="analyse", cls=Command)
@run_options
@click.argument("arguments", nargs=-1, metavar="NAME... [NAME.OPTION=VALUE]... [KEY=VALUE]...")
@json_option
def analyse_command(
    run: str, checkpoint: str, device: str, target: str | None, arguments: tuple[str, ...], json_wanted: bool
) -> None:
    """Run analyses of a trained run, and print what they find.

    RUN is a run folder, NAME an analysis, such as ensembles. Results are kept in RUN/analyses/NAME/results.json, with
    pictures beside them. Options of an analysis are written behind the run, such as ensembles.draws=5. An analysis that
    is interrupted goes on where it was when it is run again. KEY=VALUE says where the run's data lie now, such as
    task.folder=/data.
    """
    from hyperframe.analysis.runner import analyse, chosen_options
    from hyperframe.api import make_registry
    from hyperframe.runtime.files import as_json
    from hyperframe.training.progress_bar import shown_progress

    overrides, others = split_overrides(arguments)
    registry = make_registry()
    names = _names([argument for argument in others if "=" not in argument], registry)
    options = chosen_options([argument for argument in others if "=" in argument], names, registry)
    chosen = open_run(run, checkpoint, device, target, overrides)
    with shown_progress(json_wanted):
        found = {name: analyse(chosen, name, registry, options[name]) for name in names}
    click.echo(as_json(found) if json_wanted else as_json(found, indent=2))


def _names(arguments: Sequence[str], registry: "Registry") -> list[str]:
    """The names of analyses that were typed; one that was typed twice is meant once."""
    from hyperframe.analysis.report import report_order

    if not arguments:
        raise click.UsageError(f"Missing argument 'NAME...'. Analyses: {', '.join(report_order(registry))}")
    return list(dict.fromkeys(arguments))
