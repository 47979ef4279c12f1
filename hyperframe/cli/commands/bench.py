"""The commands below `bench`."""

import click

from hyperframe.cli.arguments import Command, json_option, registry_for, split_arguments, split_overrides
from hyperframe.cli.completion import complete_settings

TABLE, PICTURE, TABLE1 = "comparison.md", "comparison.png", "table1.md"
GROWTH, GROWTH_PICTURE = "growth.md", "growth.png"

LONGEST_SEED = 18
"""Digits; seeds are 64 bits."""

NETWORKS_ALL = "a loop over the networks, one ordinary module after the other, and one vmap over all of them"
TIMED = {
    "step": ("a training step", NETWORKS_ALL),
    "forward": ("the pass of a training step's networks on their images", NETWORKS_ALL),
    "trunk": (
        "a training step whose trunk, which comes before all that is generated, runs once for all networks",
        "the same step with a trunk that runs for each of them",
    ),
    "sample": ("networks drawn", "a loop over the networks, and all of them at once"),
    "gauge": ("the gauges applied to drawn networks", "a loop over the networks"),
    "distances": (
        "the entropy estimate of drawn networks, with the distances between them",
        "these distances alone, from one network to all others at a time, and from one tensor of all differences",
    ),
    "evaluate": ("drawn networks on the same examples", NETWORKS_ALL),
}
"""Each piece of work in words, and what stands beside hyperframe's own way of doing it."""

TAKES = {
    "sample": ("networks",),
    "gauge": ("networks",),
    "distances": ("networks",),
    "evaluate": ("networks", "examples"),
}
NETWORKS, EXAMPLES = 200, 1000
"""As `hyperframe.bench.speed.timings` has them, which imports torch."""

positive = click.IntRange(min=1)
networks_option = click.option(
    "-n", "--networks", type=positive, default=NETWORKS, show_default=True, help="How many networks."
)
examples_option = click.option(
    "--examples", type=positive, default=EXAMPLES, show_default=True, help="How many training examples."
)
repeats_option = click.option("--repeats", type=positive, default=5, show_default=True, help="Timed calls of each way.")
alone_option = click.option("--alone", is_flag=True, help="Leave out the other ways.")


@click.group()
def bench() -> None:
    """Measure side by side: what parts of the work cost, and what generators are worth at one budget."""


def _timing(what: str) -> click.Command:
    """Make the command that times one part of the work."""

    def time_it(
        arguments: tuple[str, ...],
        repeats: int,
        alone: bool,
        json_wanted: bool,
        networks: int = NETWORKS,
        examples: int = EXAMPLES,
    ) -> None:
        from hyperframe.bench.speed.timings import benchmark
        from hyperframe.cli import bench_tables
        from hyperframe.config.schema import load_config
        from hyperframe.runtime.files import as_json

        source, overrides = split_arguments(arguments, "digits")
        config = load_config(source, overrides, registry_for(overrides))
        content = benchmark(what, config, networks=networks, examples=examples, repeats=repeats, alone=alone)
        if json_wanted:
            click.echo(as_json(content))
        else:
            bench_tables.print_benchmark(content)

    piece, beside = TIMED[what]
    time_it.__doc__ = f"""Time {piece}.

    Plainer ways stand beside hyperframe's own: {beside}. Shown are medians of wall and CPU time and the peak of memory
    above the process after its imports; the time that the operations would take at the rate of a large matrix product,
    measured as well; and the time that what they read and write would take at the rate of a large copy, if nothing
    stayed in a cache.
    """
    options = [
        click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...", shell_complete=complete_settings),
        repeats_option,
        alone_option,
        json_option,
    ]
    options += [networks_option] * ("networks" in TAKES.get(what, ()))
    options += [examples_option] * ("examples" in TAKES.get(what, ()))
    for decorate in reversed(options):
        time_it = decorate(time_it)
    return click.command(name=what, cls=Command)(time_it)


for _name in TIMED:
    bench.add_command(_timing(_name))


@bench.command(name="growth", cls=Command)
@click.argument("what", type=click.Choice(list(TIMED)))
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...", shell_complete=complete_settings)
@click.option(
    "--over",
    required=True,
    metavar="KEY=VALUE,VALUE[,VALUE...]",
    help="The key and its values: trainer.networks=8,16,32, or networks and examples where the piece takes them.",
)
@click.option("--out", type=click.Path(), required=True, metavar="FOLDER", help="Where the results are kept.")
@networks_option
@examples_option
@repeats_option
@alone_option
@json_option
@click.pass_context
def growth_command(
    context: click.Context,
    what: str,
    arguments: tuple[str, ...],
    over: str,
    out: str,
    networks: int,
    examples: int,
    repeats: int,
    alone: bool,
    json_wanted: bool,
) -> None:
    """Time one piece of work for several values of a key, and write a table and a picture of how it grows.

    WHAT is one of the pieces that 'hyperframe bench' times. All values are measured in one process, there and back
    again, so that a machine that becomes slower does so for all of them. FOLDER gets results.json, growth.md and
    growth.png.
    """
    from hyperframe.bench.speed.growth import check_growth_folder, make_points, measure_growth
    from hyperframe.bench.speed.growth_page import draw_growth, growth_markdown
    from hyperframe.cli import bench_tables
    from hyperframe.runs.folder import RESULTS
    from hyperframe.runtime.files import as_json, user_path, write_json, write_text
    from hyperframe.runtime.terminal import printable

    for name in ("networks", "examples"):
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and name not in TAKES.get(what, ()):
            raise click.UsageError(f"'{what}' takes no --{name}; KEY=VALUE changes the configuration")
        if given and over.startswith(f"{name}="):
            raise click.UsageError(f"--{name} and --over say both how many; leave --{name} out")
    source, overrides = split_arguments(arguments, "digits")
    folder = user_path(out).absolute()
    check_growth_folder(folder)
    key, points = make_points(
        what, source, overrides, over, registry_for(overrides), networks=networks, examples=examples
    )

    def told(point: str) -> None:
        click.echo(printable(f"measured: {point}"), err=True)

    content = measure_growth(what, key, points, repeats=repeats, alone=alone, told=told)
    taken = {"networks": networks, "examples": examples}
    settings = [part for name in TAKES.get(what, ()) if name != key for part in (f"--{name}", str(taken[name]))]
    command = ["hyperframe", "bench", "growth", what, source, *overrides, "--over", over, *settings]
    command += ["--repeats", str(repeats), *(["--alone"] * alone)]
    write_json(folder / RESULTS, content)
    write_text(folder / GROWTH, growth_markdown(content, command))
    draw_growth(folder / GROWTH_PICTURE, content)
    if json_wanted:
        click.echo(as_json(content))
    else:
        bench_tables.print_growth(content)
        files = ", ".join(str(folder / one) for one in (GROWTH, GROWTH_PICTURE, RESULTS))
        click.echo(f"table, picture and results: {files}")


@bench.command(name="generators", cls=Command)
@click.argument(
    "arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]... [NAME.OPTION=VALUE]...", shell_complete=complete_settings
)
@click.option(
    "--generators",
    required=True,
    metavar="NAME[,NAME...]|FILE.yaml",
    help="Generators with their default options, or a file of label: {KEY: VALUE}, such as sgld: {generator: sgld, "
    "trainer.networks: 4}.",
)
@click.option("--out", type=click.Path(), required=True, metavar="FOLDER", help="Where everything is kept.")
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    help="Gradient evaluations of each training, of one network at one example. [default: those of CONFIG as it is]",
)
@click.option("--seeds", default="0", show_default=True, metavar="N[,N...]", help="Seeds of the trainings.")
@click.option(
    "--analysis",
    metavar="NAME[,NAME...]",
    help="Take figures of these analyses. [default: all that have any by which generators are compared]",
)
@json_option
def generators_command(
    arguments: tuple[str, ...],
    generators: str,
    out: str,
    budget: int | None,
    seeds: str,
    analysis: str | None,
    json_wanted: bool,
) -> None:
    """Train generators with the same budget from several seeds, and write one table and one picture of all of them.

    Each training gets as many steps as its budget is worth: a network's gradient at one example counts one, images of
    diversity terms too. KEY=VALUE changes CONFIG for all generators, NAME.OPTION=VALUE options of an analysis. Runs are
    kept in FOLDER/runs; the same command goes on after an interruption, and with more generators or seeds it does what
    is new. FOLDER gets results.json, comparison.md and comparison.png.
    """
    from hyperframe.analysis.runner import chosen_names, chosen_options
    from hyperframe.bench.generators import check_folder, compare_generators, comparing_analyses
    from hyperframe.bench.pictures import draw_comparison
    from hyperframe.bench.recipes import read_generators, read_recipes
    from hyperframe.bench.tables import as_markdown
    from hyperframe.cli import bench_tables
    from hyperframe.config.schema import override_pairs
    from hyperframe.runs.folder import RESULTS
    from hyperframe.runtime.files import as_json, user_path, write_text
    from hyperframe.training.progress_bar import shown_progress

    source, others = split_arguments(arguments, "digits")
    overrides, typed = split_overrides(others)
    registry = registry_for(overrides)
    names = comparing_analyses(registry) if analysis is None else chosen_names(analysis)
    options = chosen_options(typed, names, registry)
    numbers, folder = _seeds(seeds), user_path(out).absolute()
    check_folder(folder)
    chosen = read_generators(generators)
    spent, recipes = read_recipes(source, override_pairs(overrides), chosen, budget, registry)
    with shown_progress(json_wanted):
        content = compare_generators(recipes, numbers, spent, options, folder, registry)
    write_text(folder / TABLE, as_markdown(content))
    draw_comparison(folder / PICTURE, content)
    if json_wanted:
        click.echo(as_json(content))
    else:
        bench_tables.print_generators(content)
        click.echo(f"table, picture and results: {', '.join(str(folder / one) for one in (TABLE, PICTURE, RESULTS))}")


@bench.command(name="table1", cls=Command)
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=complete_settings)
@click.option("--cell", metavar="LABEL[,LABEL...]", help="Train these cells. [default: all]")
@click.option("--out", type=click.Path(), required=True, metavar="FOLDER", help="Where everything is kept.")
@json_option
def table1_command(pairs: tuple[str, ...], cell: str | None, out: str, json_wanted: bool) -> None:
    """Train cells of the paper's Table 1 on CIFAR-10, and print the table beside the paper's numbers.

    KEY=VALUE changes the configuration of every cell that is trained; with trainer.max_seconds=480 a training pauses
    after so long, and the same command goes on with it. Runs are kept in FOLDER/runs. FOLDER gets table1.json and
    table1.md, which have all cells that were ever measured there. Columns (a) and (b) need hyperframe-baselines.
    """
    from hyperframe.bench.table1 import TABLE as RESULTS
    from hyperframe.bench.table1 import chosen_labels, fill_table, make_cell
    from hyperframe.bench.tables import table1_markdown
    from hyperframe.cli import bench_tables
    from hyperframe.config.schema import override_pairs
    from hyperframe.runtime.files import as_json, user_path, write_text
    from hyperframe.training.progress_bar import shown_progress

    registry = registry_for(pairs)
    folder = user_path(out).absolute()
    cells = [make_cell(label, override_pairs(pairs), folder, registry) for label in chosen_labels(cell)]
    with shown_progress(json_wanted):
        content = fill_table(cells, folder, registry)
    write_text(folder / TABLE1, table1_markdown(content))
    if json_wanted:
        click.echo(as_json(content))
    else:
        bench_tables.print_table1(content)
        click.echo(f"table and results: {folder / TABLE1}, {folder / RESULTS}")


def _seeds(text: str) -> list[int]:
    """Read whole numbers with commas between them."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) <= LONGEST_SEED for word in words):
        said = f"'{text[:80]}' is no list of whole numbers of up to {LONGEST_SEED} digits, such as 0,1,2"
        raise click.BadParameter(said, param_hint="--seeds")
    return list(dict.fromkeys(map(int, words)))
