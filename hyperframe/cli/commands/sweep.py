"""The command `sweep`."""

import os
import sys

import click

from hyperframe.cli.arguments import Command, json_option, registry_with, split_arguments
from hyperframe.cli.completion import complete_settings

CELL_FAILED = 1
"""Exit code where a cell fails: the command has done what it should, the training has not."""


@click.command(name="sweep", cls=Command)
@click.argument("arguments", nargs=-1, metavar="[CONFIG] KEY=VALUE[,VALUE...]...", shell_complete=complete_settings)
@click.option("--out", type=click.Path(), required=True, metavar="FOLDER", help="Where everything is kept.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trainings at a time; they share the cores.",
)
@click.option("--dry-run", is_flag=True, help="List the cells and their commands, and train nothing.")
@json_option
def sweep_command(arguments: tuple[str, ...], out: str, jobs: int, dry_run: bool, json_wanted: bool) -> None:
    """Train a grid of configurations, and show all of them side by side.

    Each KEY takes each of its VALUEs, with commas between them, such as objective.lambda=10,100 or
    gauges=[scale],[scale,logit_bias]. Cells that differ in seed=0,1,2 alone are one point of the table and the picture,
    with mean and deviation. Each cell is a run in FOLDER/runs, trained as 'hyperframe train' does it in a process of
    its own. Ctrl-C saves all of them; the same command goes on, and with more values it trains what is new. As one of
    SLURM's array of tasks it trains its share of the cells. A cell that fails is named in the end with the reason, and
    the exit code is 1. FOLDER gets results.json and comparison.png.
    """
    from hyperframe.bench.grid import make_cells, read_values, share_of, swept_keys
    from hyperframe.bench.sweep import check_sweep, compare_sweep, row_of, tell_others, train_cells
    from hyperframe.cli import tables
    from hyperframe.config.import_path import typed_targets
    from hyperframe.config.overrides import split_override
    from hyperframe.runtime.files import as_json, user_path
    from hyperframe.runtime.terminal import printable
    from hyperframe.training.progress_bar import shown_progress

    source, texts = split_arguments(arguments, "digits")
    values = read_values(texts)
    typed = [split_override(f"{key}={piece}") for key, pieces in values.items() for piece in pieces]
    registry = registry_with(typed_targets(typed))
    cells = make_cells(source, values, user_path(out).absolute(), registry)
    own = share_of(cells, os.environ)
    check_sweep(own, registry)
    tell_others(cells)
    if dry_run:
        rows = [row_of(cell, source, jobs) for cell in own]
        lines = [f"{row['cell']} ({row['state']}): {row['command']}" for row in rows]
        click.echo(as_json({"cells": rows}) if json_wanted else printable("\n".join(lines)))
        return

    def told(name: str, reason: str | None) -> None:
        click.echo(printable(f"{name}: {'ended' if reason is None else 'failed'}"), err=True)

    with shown_progress(json_wanted):
        failed = train_cells(own, source, jobs, told)
        content = compare_sweep(cells, own, registry, failed, joined=len(swept_keys(values)) == 1)
    if json_wanted:
        click.echo(as_json(content))
    elif content["runs"]:
        tables.print_comparison(content)
        click.echo(f"results and picture: {', '.join(content['files'])}")
    for line in content["open"]:
        click.echo(printable(line), err=True)
    if failed:
        sys.exit(CELL_FAILED)
