"""The commands `sample` and `export`, which draw networks into files."""

import click

from hyperframe.cli.arguments import Command, draw_options, open_run, run_options
from hyperframe.runtime.progress import quantity


@click.command(cls=Command)
@run_options
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@draw_options
@click.option("--out", type=click.Path(), help="One safetensors file with all networks; it must not exist.")
@click.option("--split", type=click.Path(), metavar="DIR", help="A folder, absent or empty: a file for each network.")
@click.option("--gauge", is_flag=True, help="Write the weights in the run's gauges; without it, as generated.")
def sample(
    run: str,
    checkpoint: str,
    device: str,
    target: str | None,
    networks: int | None,
    seed: int | None,
    out: str | None,
    split: str | None,
    gauge: bool,
    overrides: tuple[str, ...],
) -> None:
    """Draw networks from a trained generator into a file, or into a folder of state_dicts.

    The file holds each parameter of the target as [networks, *shape], and the statistics of its normalisations
    likewise; safetensors and torch alone read it. Default: evaluation.test_networks networks. Where the target has
    statistics, they are estimated from training data; KEY=VALUE says where these lie now, such as task.folder=/data.
    """
    if (out is None) == (split is None):
        raise click.UsageError("give either --out FILE or --split DIR")
    chosen = open_run(run, checkpoint, device, target, overrides)
    count = networks or chosen.default_count
    written = (
        chosen.write_samples(out, count, seed, gauge=gauge)
        if out is not None
        else chosen.write_state_dicts(str(split), count, seed, gauge=gauge)
    )
    click.echo(f"{quantity(count, 'network')} written to {written}")


@click.command(cls=Command)
@run_options
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@draw_options
@click.option(
    "--out",
    type=click.Path(),
    required=True,
    metavar="FOLDER|FILE.pt2|FILE.onnx",
    help="A folder, absent or empty, or a file that does not exist.",
)
def export(
    run: str,
    checkpoint: str,
    device: str,
    target: str | None,
    networks: int | None,
    seed: int | None,
    out: str,
    overrides: tuple[str, ...],
) -> None:
    """Save a run to be used elsewhere, or draw an ensemble into a program that runs without hyperframe.

    A folder gets the generator, drawn networks and a card with the run's figures, in the layout that hubs of models
    take; hyperframe.from_pretrained reads it, and every command that reads a run. A file gets a program: of
    torch.export (.pt2), or in the ONNX format. Programs take x, and give the mean of the networks' predictions and the
    prediction of each. Default: evaluation.test_networks networks, or as many as take 256 MiB. Where the target has
    statistics, they are estimated from training data; KEY=VALUE says where these lie now, such as task.folder=/data.
    """
    from hyperframe.networks.programs import is_program

    as_program = is_program(out)  # before the run is loaded
    chosen = open_run(run, checkpoint, device, target, overrides)
    written = (chosen.write_program if as_program else chosen.save_pretrained)(out, networks, seed)
    click.echo(f"written to {written}")
