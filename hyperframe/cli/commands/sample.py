"""The command `sample`."""

import click

from hyperframe.cli.arguments import Command, draw_options, open_run, run_options


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
    click.echo(f"{count} networks written to {written}")
