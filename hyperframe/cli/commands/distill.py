"""The command `distill`."""

import click

from hyperframe.cli.arguments import Command, draw_options, json_option, open_run, run_options

METHODS = ("predictions", "average", "average-gauged")
STEPS = 4000
"""As `hyperframe.analysis.distillation` has them, which imports torch."""


@click.command(name="distill", cls=Command)
@run_options
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--out", type=click.Path(), required=True, metavar="FILE.safetensors", help="The file; it must not exist."
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=METHODS[0],
    show_default=True,
    help="Teach a network what the ensemble predicts; or average weights, as generated or in the run's gauges.",
)
@draw_options
@click.option(
    "--scale", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Averages: multiply z by it."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=STEPS,
    show_default=True,
    help="Predictions: steps of the training.",
)
@json_option
def distill_command(
    run: str,
    checkpoint: str,
    device: str,
    target: str | None,
    overrides: tuple[str, ...],
    out: str,
    method: str,
    networks: int | None,
    seed: int | None,
    scale: float,
    steps: int,
    json_wanted: bool,
) -> None:
    """Put one network in the place of an ensemble: write its state_dict, and show what it reaches on the test set.

    The file holds one ordinary network, which the target's module loads. Default: an ensemble of 50 networks. With the
    method predictions an untrained network learns the ensemble's mean prediction of training inputs and mixtures of
    these. The averages are means of weights, which need not be good networks. KEY=VALUE says where the run's data lie
    now, such as task.folder=/data.
    """
    from hyperframe.analysis.distillation.distill import distill
    from hyperframe.analysis.distillation.student import DistillationOptions
    from hyperframe.cli import tables
    from hyperframe.runtime.files import as_json, check_new_file, user_path
    from hyperframe.training.progress_bar import shown_progress

    check_new_file(user_path(out), (".safetensors",), "the network is")  # before the run is loaded
    chosen = open_run(run, checkpoint, device, target, overrides)
    options = DistillationOptions(steps=steps, **({} if networks is None else {"networks": networks}))
    with shown_progress(json_wanted):
        content = distill(chosen, out, method, options, seed, scale=scale)
    if json_wanted:
        click.echo(as_json(content))
    else:
        tables.print_distillation(content)
        click.echo(f"written to {content['file']}")
