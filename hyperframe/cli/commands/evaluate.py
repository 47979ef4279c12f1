"""The command `evaluate`."""

import click

from hyperframe.cli.arguments import (
    Command,
    check_samples,
    draw_options,
    json_option,
    open_run,
    run_options,
    samples_option,
    split_overrides,
)


@click.command(cls=Command)
@run_options
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@draw_options
@click.option(
    "--split", type=click.Choice(["test", "validation"]), default="test", show_default=True, help="Which data."
)
@samples_option
@json_option
def evaluate(
    run: str,
    checkpoint: str,
    device: str,
    target: str | None,
    networks: int | None,
    seed: int | None,
    split: str,
    samples: str | None,
    arguments: tuple[str, ...],
    json_wanted: bool,
) -> None:
    """Draw networks from a trained generator and measure them, alone and as an ensemble.

    RUN is a run folder. Results are kept in RUN/analyses/evaluation/results.json too. KEY=VALUE says where the run's
    data lie now, such as task.folder=/data. 'hyperframe analyse' runs analyses.
    """
    from hyperframe.cli import tables
    from hyperframe.runtime.files import as_json
    from hyperframe.training.progress_bar import shown_progress

    overrides, others = split_overrides(arguments)
    if others:
        raise click.UsageError(
            f"'{others[0]}' is not KEY=VALUE of the run's configuration; analyses and their options are for "
            "'hyperframe analyse RUN NAME... [NAME.OPTION=VALUE]...'"
        )
    check_samples(samples, networks, seed)
    chosen = open_run(run, checkpoint, device, target, overrides)
    with shown_progress(json_wanted):
        results = chosen.evaluate(networks, split, seed, samples=samples)
    if json_wanted:
        click.echo(as_json(results))
    else:
        tables.print_evaluation(results)
