"""The command `compare`."""

import click

from hyperframe.cli.arguments import Command, draw_options, json_option, load_options, registry_with, split_overrides
from hyperframe.cli.completion import complete_run


@click.command(name="compare", cls=Command)
@click.argument(
    "arguments", nargs=-1, type=click.Path(), metavar="RUN RUN... [KEY=VALUE]...", shell_complete=complete_run
)
@load_options
@click.option(
    "--target", "targets", multiple=True, help="package.module:factory of runs with such a target; see 'evaluate'."
)
@draw_options
@click.option("--out", type=click.Path(), metavar="FILE.png", help="Draw accuracy against diversity into this file.")
@json_option
def compare_command(
    arguments: tuple[str, ...],
    checkpoint: str,
    device: str,
    targets: tuple[str, ...],
    networks: int | None,
    seed: int | None,
    out: str | None,
    json_wanted: bool,
) -> None:
    """Show two or more runs side by side: what differs in their configurations, and results on the test set.

    As many networks are drawn from each run, by default as many as the least of evaluation.test_networks. Entropies
    are those of the weights in the run's gauges, by every entropy estimator that is installed, with its default
    options. Training time is that of the steps alone. Nothing is written but the picture.
    KEY=VALUE says where the data of runs that have such a key lie now, such as task.folder=/data.
    """
    from hyperframe.cli import tables
    from hyperframe.config.import_path import check_factory
    from hyperframe.runs.comparison import compare, write_picture
    from hyperframe.runtime.files import as_json, check_new_file, user_path
    from hyperframe.training.progress_bar import shown_progress

    overrides, runs = split_overrides(arguments)
    if not runs:
        raise click.UsageError("Missing argument 'RUN RUN...'.")
    if out is not None:
        check_new_file(user_path(out), (".png",), "the picture is")
    registry = registry_with([check_factory(target) for target in targets], opens=True)
    with shown_progress(json_wanted):
        content = compare(runs, registry, networks, seed, device=device, checkpoint=checkpoint, overrides=overrides)
    if json_wanted:
        click.echo(as_json(content))
    else:
        tables.print_comparison(content)
    if out is not None:
        write_picture(user_path(out), content)
