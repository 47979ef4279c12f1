"""The command `bench`."""

import click

from hyperframe.cli import tables
from hyperframe.cli.arguments import Command, json_option, registry_for, split_arguments
from hyperframe.config.schema import load_config
from hyperframe.runtime.files import as_json
from hyperframe.training.benchmark import BENCHMARKS, EXAMPLES, NETWORKS, benchmark


@click.command(cls=Command)
@click.argument("what", type=click.Choice(list(BENCHMARKS)))
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...")
@click.option(
    "-n", "--networks", type=click.IntRange(min=1), help=f"sample, evaluate: how many networks. [default: {NETWORKS}]"
)
@click.option(
    "--examples", type=click.IntRange(min=1), help=f"evaluate: how many training examples. [default: {EXAMPLES}]"
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Timed calls of each way.")
@click.option("--alone", is_flag=True, help="Leave out the two other ways.")
@json_option
def bench(
    what: str,
    arguments: tuple[str, ...],
    networks: int | None,
    examples: int | None,
    repeats: int,
    alone: bool,
    json_wanted: bool,
) -> None:
    """Time a part of the work beside two plainer ways of doing it.

    step: a training step; forward: its networks on its images; sample: networks drawn; evaluate: drawn networks on the
    same examples. Beside hyperframe's own way stand a loop over the networks, one ordinary module after the other, and
    one vmap over all of them. Shown are medians of wall and CPU time, the peak of memory above the process after its
    imports, and the time that the operations would take at the rate of a large matrix product, measured as well.
    """
    if networks and what not in ("sample", "evaluate"):
        raise click.UsageError(f"'{what}' takes trainer.networks networks; -n is for sample and evaluate")
    if examples and what != "evaluate":
        raise click.UsageError(f"'{what}' takes no --examples; it is for evaluate")
    source, overrides = split_arguments(arguments, "digits")
    config = load_config(source, overrides, registry_for(overrides))
    sizes = {"networks": networks or NETWORKS, "examples": examples or EXAMPLES}
    content = benchmark(what, config, **sizes, repeats=repeats, alone=alone)
    if json_wanted:
        click.echo(as_json(content))
    else:
        tables.print_benchmark(content)
