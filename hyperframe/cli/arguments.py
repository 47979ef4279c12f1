"""Arguments and options that several commands take, and what they stand for."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hyperframe.cli.completion import complete_run
from hyperframe.cli.extensions import begin_work

if TYPE_CHECKING:
    from hyperframe.config.registry import Registry
    from hyperframe.runs.run import Run

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose body begins once its arguments are known to be right; only bodies import the library.

    It refuses an option that is given twice, of which click takes the last without a word.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, as click does."""
        begin_work(ctx)
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, as click does; raises `click.UsageError` where an option is given twice."""
        order = self.make_parser(ctx).parse_args(args=list(args))[2]
        for option in order:
            single = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
            if single and order.count(option) > 1 and not ctx.resilient_parsing:
                raise click.UsageError(f"{option.opts[-1]} is given twice; give it once", ctx)
        return super().parse_args(ctx, args)


class ExaminingCommand(Command):
    """A command whose body is to run where even torch cannot be imported: nothing comes before it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, as click does."""
        return click.Command.invoke(self, ctx)


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "json_wanted", is_flag=True, help="Print JSON, for programs.")(command)


def split_arguments(arguments: tuple[str, ...], default: str) -> tuple[str, list[str]]:
    """Split `[CONFIG] [KEY=VALUE…]`: the first argument is the configuration unless it is an override."""
    from hyperframe.runtime.files import is_file, user_path

    first = arguments[0] if arguments else ""
    if first and not _names_key(first) and ("=" not in first or is_file(user_path(first))):
        return arguments[0], list(arguments[1:])
    return default, list(arguments)


def _names_key(argument: str) -> bool:
    """Whether an argument is `KEY=VALUE` of a configuration."""
    from hyperframe.config.overrides import KEY_HELP

    return "=" in argument and argument.partition("=")[0].partition(".")[0] in KEY_HELP


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what is written behind a run into `KEY=VALUE` of its configuration, and all else.

    Example:
        >>> split_overrides(["a.png", "task.folder=/data", "ensembles.draws=5"])
        (['task.folder=/data'], ['a.png', 'ensembles.draws=5'])
    """
    overrides = [argument for argument in arguments if _names_key(argument)]
    return overrides, [argument for argument in arguments if argument not in overrides]


def load_options(command: F) -> F:
    """Add what every command takes that loads one run or several."""
    checkpoint = click.option(
        "--checkpoint", default="last", show_default=True, help="last, best (by validation), or a step."
    )
    device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")
    return checkpoint(device(command))


def run_options(command: F) -> F:
    """Add what every command takes that loads a run."""
    run = click.argument("run", type=click.Path(), shell_complete=complete_run)
    target = click.option(
        "--target",
        help="package.module:factory of a run with such a target, or that makes the module that was handed over in "
        "Python; a folder cannot bring code.",
    )
    return run(load_options(target(command)))


def draw_options(command: F) -> F:
    """Add what every command takes that draws networks."""
    networks = click.option("-n", "--networks", type=click.IntRange(min=1), help="How many networks to draw.")
    seed = click.option("--seed", type=click.IntRange(min=0), help="Seed of the draws. [default: evaluation.seed]")
    return networks(seed(command))


def samples_option(command: F) -> F:
    """Add --samples, for commands that take networks from a file in the place of drawing them; see `check_samples`."""
    help_ = "Take the networks of this file, which 'sample' wrote."
    return click.option("--samples", type=click.Path(), help=help_)(command)


def open_run(run: str, checkpoint: str, device: str, target: str | None, overrides: Sequence[str] = ()) -> "Run":
    """Load the run that the options of `run_options` name; overrides say where its data lie now."""
    from hyperframe.config.import_path import check_factory
    from hyperframe.runs.loading import load_run

    registry = registry_with([] if target is None else [check_factory(target)], opens=True)
    return load_run(run, registry, device, checkpoint, overrides)


def registry_with(typed: Sequence[str], *, opens: bool = False) -> "Registry":
    """All components that are installed, and targets `package.module:factory` that were typed; `opens` a run."""
    from hyperframe.api import make_registry
    from hyperframe.config.import_path import Factories

    if typed and "" not in sys.path:
        sys.path.append("")  # modules in the current folder, as python -m has it
    return make_registry([Factories(typed, opens=opens)] if typed else [])


def registry_for(overrides: Sequence[str], *, opens: bool = False) -> "Registry":
    """All components that are installed, and the target that overrides name where it is a factory; `opens` a run."""
    from hyperframe.config.import_path import typed_targets
    from hyperframe.config.schema import override_pairs

    return registry_with(typed_targets(override_pairs(overrides)), opens=opens)


def check_samples(samples: str | None, networks: int | None, seed: int | None) -> None:
    """Refuse to draw networks where those of a file are to be taken."""
    if samples is not None and (networks is not None or seed is not None):
        raise click.UsageError("--samples takes networks from a file; -n and --seed are for drawing them")
