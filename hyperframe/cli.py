"""The command line."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

from hyperframe import tables
from hyperframe.api import installed
from hyperframe.config import Config, load_config, override_pairs, shipped_configs
from hyperframe.describe import describe
from hyperframe.errors import HyperframeError, HyperframeWarning
from hyperframe.factories import Factories, checked_factory, typed_targets
from hyperframe.files import as_json, is_file
from hyperframe.listing import list_runs
from hyperframe.overrides import KEY_HELP
from hyperframe.plugins import Registry
from hyperframe.predictions import as_rows, check_result_file, read_inputs, write_result
from hyperframe.reference import commented_yaml
from hyperframe.resume import resume_run
from hyperframe.run import Run, load_run
from hyperframe.training import Reporter, Silent, train_run

USER_MISTAKE = 2
F = TypeVar("F", bound=Callable[..., Any])


def run_command_line() -> None:
    """Run the command; a user's mistake gives one message and exit code 2, never a traceback."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", HyperframeWarning)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main(standalone_mode=False)
    except HyperframeError as error:
        click.echo(f"hyperframe: {error}", err=True)
        sys.exit(USER_MISTAKE)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it at once
        click.echo("hyperframe: interrupted", err=True)
        sys.exit(128 + signal.SIGINT)
    except OSError as error:  # what the library writes itself has messages of its own
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for what is still to be flushed)
        if not isinstance(error, BrokenPipeError):  # whoever reads has seen enough
            click.echo(f"hyperframe: the output cannot be written: {error.strerror}", err=True)
        sys.exit(128 + signal.SIGPIPE if isinstance(error, BrokenPipeError) else USER_MISTAKE)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Show the library's own warnings as messages, all others as Python does."""
    if issubclass(category, HyperframeWarning):
        click.echo(f"hyperframe: {message}", err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, nl=False)


def _terminate(number: int, frame: object) -> None:
    """End on SIGTERM as on an error, so that all that is open is closed; a second one ends it at once."""
    signal.signal(number, signal.SIG_DFL)
    sys.exit(128 + number)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hyperframe-nn", prog_name="hyperframe")
def main() -> None:
    """Train a generator of neural networks, and work with what it generates."""


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "json_wanted", is_flag=True, help="Print JSON, for programs.")(command)


def split_arguments(arguments: tuple[str, ...], default: str) -> tuple[str, list[str]]:
    """Split `[CONFIG] [KEY=VALUE…]`: the first argument is the configuration unless it is an override."""
    first = arguments[0] if arguments else ""
    names_key = "=" in first and first.partition("=")[0].partition(".")[0] in KEY_HELP
    if first and not names_key and ("=" not in first or is_file(Path(first))):
        return arguments[0], list(arguments[1:])
    return default, list(arguments)


def run_options(command: F) -> F:
    """Add what every command takes that loads a run."""
    options = [
        click.argument("run", type=click.Path()),
        click.option("--checkpoint", default="last", show_default=True, help="last, best (by validation), or a step."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX."),
        click.option(
            "--target", help="package.module:factory of a run with such a target; a folder cannot bring code."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def draw_options(command: F) -> F:
    """Add what every command takes that draws networks."""
    networks = click.option("-n", "--networks", type=click.IntRange(min=1), help="How many networks to draw.")
    seed = click.option("--seed", type=click.IntRange(min=0), help="Seed of the draws. [default: evaluation.seed]")
    return networks(seed(command))


def loaded(run: str, checkpoint: str, device: str, target: str | None) -> Run:
    """The run that the options of `run_options` name."""
    return load_run(run, registry_with([] if target is None else [checked_factory(target)]), device, checkpoint)


def registry_with(typed: Sequence[str]) -> Registry:
    """All components that are installed, and targets `package.module:factory` that the user has typed."""
    if typed and "" not in sys.path:
        sys.path.append("")  # modules in the current folder, as python -m has it
    return installed([Factories(typed)] if typed else [])


def registry_for(overrides: Sequence[str]) -> Registry:
    """All components that are installed, and the target that overrides name where it is such a factory."""
    return registry_with(typed_targets(override_pairs(overrides)))


@main.command()
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...")
@click.option("--out", type=click.Path(), help="The run folder, absent or empty. [default: a new one under runs/]")
@click.option("--resume", type=click.Path(), metavar="RUN", help="Go on with this run from its last checkpoint.")
@json_option
def train(arguments: tuple[str, ...], out: str | None, resume: str | None, json_wanted: bool) -> None:
    """Train a generator, evaluate it on the test set, and name the run folder.

    CONFIG is a name that ships or a YAML file; the default is digits. KEY=VALUE changes a key of it, such as
    trainer.steps=500 or gauges=[scale]. 'hyperframe config' shows all keys. A target can be package.module:factory.

    With --resume a run goes on where it stopped, on the CPU bit for bit; KEY=VALUE can extend it (trainer.steps) or
    change how it is trained from there on. Ctrl-C and SIGTERM save before they end a training.
    """
    reporter: Reporter = Silent() if json_wanted else tables.ProgressReporter()
    source, overrides = split_arguments(arguments, "")
    registry = registry_for(overrides)
    if resume is not None and (source or out is not None):
        raise click.UsageError("with --resume the run's own folder and configuration are used: no CONFIG, no --out")
    with reporter if isinstance(reporter, tables.ProgressReporter) else nullcontext():
        if resume is not None:
            run = resume_run(resume, overrides, registry, reporter)
        else:
            run = train_run(load_config(source or "digits", overrides, registry), registry, out, reporter)
    if not run.finished:
        if json_wanted:
            steps = run.config.trainer.steps
            click.echo(as_json({"state": "paused", "run": str(run.folder), "step": run.step, "steps": steps}))
        return
    figures = run.evaluate()
    if json_wanted:
        click.echo(as_json(figures))
        return
    tables.print_evaluation(figures)
    click.echo(f"run folder: {run.folder}")


@main.command()
@run_options
@draw_options
@click.option(
    "--split", type=click.Choice(["test", "validation"]), default="test", show_default=True, help="Which data."
)
@click.option("--samples", type=click.Path(), help="Take the networks of this file, which 'sample' wrote.")
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
    json_wanted: bool,
) -> None:
    """Draw networks from a trained generator and measure them, alone and as an ensemble.

    RUN is a run folder. The figures are kept in RUN/analyses/evaluation/results.json too.
    """
    check_samples(samples, networks, seed)
    figures = loaded(run, checkpoint, device, target).evaluate(networks, split, seed, samples=samples)
    if json_wanted:
        click.echo(as_json(figures))
    else:
        tables.print_evaluation(figures)


def check_samples(samples: str | None, networks: int | None, seed: int | None) -> None:
    """Refuse to draw networks where those of a file are to be taken."""
    if samples is not None and (networks is not None or seed is not None):
        raise click.UsageError("--samples takes networks from a file; -n and --seed are for drawing them")


@main.command()
@run_options
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
) -> None:
    """Draw networks from a trained generator into a file, or into a folder of state_dicts.

    The file holds each parameter of the target as [networks, *shape], and the statistics of its normalisations
    likewise; safetensors and torch alone read it. Default: evaluation.test_networks networks.
    """
    if (out is None) == (split is None):
        raise click.UsageError("give either --out FILE or --split DIR")
    chosen = loaded(run, checkpoint, device, target)
    count = networks or chosen.default_count
    written = (
        chosen.write_samples(out, count, seed, gauge=gauge)
        if out is not None
        else chosen.write_state_dicts(str(split), count, seed, gauge=gauge)
    )
    click.echo(f"{count} networks written to {written}")


@main.command()
@run_options
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@draw_options
@click.option("--samples", type=click.Path(), help="Take the networks of this file, which 'sample' wrote.")
@click.option("--out", type=click.Path(), help="Write the figures to this .npz or .safetensors file.")
@json_option
def predict(
    run: str,
    files: tuple[str, ...],
    checkpoint: str,
    device: str,
    target: str | None,
    networks: int | None,
    seed: int | None,
    samples: str | None,
    out: str | None,
    json_wanted: bool,
) -> None:
    """Say what an ensemble of drawn networks makes of inputs, and how sure it is.

    FILE is a .npy, .npz or .safetensors file with inputs x, or images, or folders of images; they are scaled to the
    size that the target takes. For classes: the mean probabilities, the majority vote, the entropy of the mean
    probabilities and the mutual information (the part of it that is disagreement), in nats. For values: mean and
    standard deviation.
    """
    check_samples(samples, networks, seed)
    if out is not None:
        check_result_file(Path(out))
    chosen = loaded(run, checkpoint, device, target)
    x, names = read_inputs([Path(file) for file in files], chosen.experiment.target.spec.input_shape)
    drawn = chosen.networks(networks, seed, samples)
    figures = drawn.summary(x)
    if out is not None:
        write_result(Path(out), figures)
    rows = as_rows(figures, names)
    if json_wanted:
        click.echo(as_json({"networks": len(drawn), "items": rows}))
    elif out is not None:
        click.echo(f"{len(rows)} predictions of {len(drawn)} networks written to {out}")
    else:
        tables.print_prediction(rows)


@main.command()
@click.argument("folder", type=click.Path(), default="runs", metavar="[DIR]")
@json_option
def runs(folder: str, json_wanted: bool) -> None:
    """List the runs in a folder, by default runs/, with their state, step and accuracy."""
    rows = list_runs(Path(folder))
    if json_wanted:
        click.echo(as_json({"runs": rows}))
    elif rows:
        tables.print_runs(rows)
    else:
        click.echo(f"no runs in {folder}")


@main.command(name="describe")
@click.argument("arguments", nargs=-1, metavar="[TARGET] [KEY=VALUE]...")
@click.option("--config", "source", default="digits", show_default=True, help="The configuration to describe.")
@json_option
def describe_command(arguments: tuple[str, ...], source: str, json_wanted: bool) -> None:
    """Show a target's layers, filters and symmetries, the generator's size, and the memory of a training step."""
    target, overrides = split_arguments(arguments, "")
    overrides = [*([f"target={target}"] if target else []), *overrides]
    content = describe(load_config(source, overrides, registry_for(overrides)))
    if json_wanted:
        click.echo(as_json(content))
    else:
        tables.print_description(content)


@main.command(name="config")
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...")
@click.option("--list", "listed", is_flag=True, help="List the configurations that ship.")
def config_command(arguments: tuple[str, ...], listed: bool) -> None:
    """Print a complete configuration as YAML, with a comment for every key."""
    if listed:
        click.echo("\n".join(shipped_configs()))
        return
    source, overrides = split_arguments(arguments, "digits")
    config: Config = load_config(source, overrides, registry_for(overrides))
    click.echo(commented_yaml(config), nl=False)


@main.command()
@json_option
def plugins(json_wanted: bool) -> None:
    """List all components that are installed, and the plugins that could not be loaded."""
    registry = installed()
    components, broken = registry.all(), registry.manager.broken
    if not json_wanted:
        tables.print_plugins(components, broken)
        return
    rows = [{**entry.plain(), "summary": entry.component.summary} for entry in components]
    failures = [
        {"plugin": item.source.plugin, "distribution": item.source.distribution, "reason": item.reason}
        for item in broken
    ]
    click.echo(as_json({"components": rows, "not_loaded": failures}))
