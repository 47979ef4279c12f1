"""The command line."""

import os
import signal
import sys
import warnings
from contextlib import nullcontext
from typing import Any

import click

from hyperframe.analysis.runner import analyse, analyse_all, chosen_names, chosen_options
from hyperframe.api import installed
from hyperframe.cli import tables
from hyperframe.cli.arguments import (
    Group,
    check_samples,
    draw_options,
    json_option,
    loaded,
    registry_for,
    run_options,
    split_arguments,
    split_overrides,
)
from hyperframe.cli.commands.bench import bench
from hyperframe.cli.commands.compare import compare_command
from hyperframe.cli.commands.components import check, new_plugin_command, plugins
from hyperframe.cli.commands.distill import distill_command
from hyperframe.cli.commands.report import report_command
from hyperframe.cli.extensions import with_plugins
from hyperframe.cli.prediction_files import RESULT_FILES, as_rows, read_inputs, write_result
from hyperframe.config.commented_yaml import commented_yaml
from hyperframe.config.registry import make_plugin_manager
from hyperframe.config.schema import Config, load_config, shipped_configs
from hyperframe.errors import HyperframeError, HyperframeWarning, PluginError
from hyperframe.experiment.describe import describe
from hyperframe.runs.listing import list_runs
from hyperframe.runtime.files import as_json, check_new_file, user_path
from hyperframe.runtime.signals import end_on_signals
from hyperframe.runtime.terminal import printable
from hyperframe.training.loop import Reporter, Silent, train_run
from hyperframe.training.progress_bar import ProgressReporter, shown_progress
from hyperframe.training.resume import resume_run

USER_MISTAKE = 2


def run_command_line() -> None:
    """Run the command; a user's mistake gives one message and exit code 2, never a traceback."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", HyperframeWarning)
    end_on_signals()
    try:
        with_plugins(main, make_plugin_manager())(standalone_mode=False)
    except HyperframeError as error:
        click.echo(printable(f"hyperframe: {error}"), err=True)
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
        click.echo(printable(f"hyperframe: {message}"), err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, nl=False)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hyperframe-nn", prog_name="hyperframe")
def main() -> None:
    """Train a generator of neural networks, and work with what it generates."""


@main.command()
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...")
@click.option("--out", type=click.Path(), help="The run folder, absent or empty. [default: a new one under runs/]")
@click.option("--resume", type=click.Path(), metavar="RUN", help="Go on with this run from its last checkpoint.")
@json_option
def train(arguments: tuple[str, ...], out: str | None, resume: str | None, json_wanted: bool) -> None:
    """Train a generator, evaluate it on the test set, run evaluation.analyses, and name the run folder.

    CONFIG is a name that ships or a YAML file; the default is digits. KEY=VALUE changes a key of it, such as
    trainer.steps=500 or gauges=[scale]. 'hyperframe config' shows all keys. A target can be package.module:factory.

    With --resume a run goes on where it stopped, on the CPU bit for bit; KEY=VALUE can extend it (trainer.steps) or
    change how it is trained from there on. Ctrl-C, SIGTERM and the signals of
    schedulers (SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU) save before they end a training.
    """
    reporter: Reporter = Silent() if json_wanted else ProgressReporter()
    source, overrides = split_arguments(arguments, "")
    registry = registry_for(overrides)
    if resume is not None and (source or out is not None):
        raise click.UsageError("with --resume the run's own folder and configuration are used: no CONFIG, no --out")
    with reporter if isinstance(reporter, ProgressReporter) else nullcontext():
        if resume is not None:
            run = resume_run(resume, overrides, registry, reporter)
        else:
            run = train_run(load_config(source or "digits", overrides, registry), registry, out, reporter)
    if not run.finished:
        if json_wanted:
            steps = run.config.trainer.steps
            click.echo(as_json({"state": "paused", "run": str(run.folder), "step": run.step, "steps": steps}))
        return
    results = run.evaluate()
    if not json_wanted:
        tables.print_evaluation(results)
    with shown_progress(json_wanted):
        found, failed = analyse_all(run, registry)
    if json_wanted:
        click.echo(as_json(results | ({"analyses": found} if found else {}) | ({"failed": failed} if failed else {})))
    else:
        tables.print_analyses(found, run.folder)
        click.echo(f"run folder: {run.folder}")
    if failed:
        raise PluginError("; ".join(failed.values()))


@main.command()
@run_options
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]... [NAME.OPTION=VALUE]...")
@draw_options
@click.option(
    "--split", type=click.Choice(["test", "validation"]), default="test", show_default=True, help="Which data."
)
@click.option("--samples", type=click.Path(), help="Take the networks of this file, which 'sample' wrote.")
@click.option("--analysis", metavar="NAME[,NAME...]", help="Run these analyses instead.")
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
    analysis: str | None,
    arguments: tuple[str, ...],
    json_wanted: bool,
) -> None:
    """Draw networks from a trained generator and measure them, alone and as an ensemble.

    RUN is a run folder. The figures are kept in RUN/analyses/evaluation/results.json too, those of an analysis in
    RUN/analyses/NAME/results.json, with its pictures beside them. Options of an analysis are written behind the run,
    such as ensembles.draws=5. An analysis that is interrupted goes on where it was when it is run again. KEY=VALUE says
    where the run's data lie now, such as task.folder=/data.
    """
    overrides, options = split_overrides(arguments)
    if analysis is not None:
        if networks or seed is not None or samples is not None:
            raise click.UsageError(
                "-n, --seed and --samples are for the evaluation; an analysis has options of its own"
            )
        names = chosen_names(analysis)
        registry = installed()
        chosen_for = chosen_options(options, names, registry)
        chosen = loaded(run, checkpoint, device, target, overrides)
        with shown_progress(json_wanted):
            found = {name: analyse(chosen, name, registry, chosen_for[name]) for name in names}
        click.echo(as_json(found) if json_wanted else as_json(found, indent=2))
        return
    if options:
        raise click.UsageError(f"'{options[0]}' is an option of an analysis; name the analysis with --analysis")
    check_samples(samples, networks, seed)
    results = loaded(run, checkpoint, device, target, overrides).evaluate(networks, split, seed, samples=samples)
    if json_wanted:
        click.echo(as_json(results))
    else:
        tables.print_evaluation(results)


@main.command()
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
    chosen = loaded(run, checkpoint, device, target, overrides)
    count = networks or chosen.default_count
    written = (
        chosen.write_samples(out, count, seed, gauge=gauge)
        if out is not None
        else chosen.write_state_dicts(str(split), count, seed, gauge=gauge)
    )
    click.echo(f"{count} networks written to {written}")


@main.command()
@run_options
@click.argument("arguments", nargs=-1, type=click.Path(), metavar="FILE... [KEY=VALUE]...")
@draw_options
@click.option("--samples", type=click.Path(), help="Take the networks of this file, which 'sample' wrote.")
@click.option("--out", type=click.Path(), help="Write the figures to this .npz or .safetensors file.")
@json_option
def predict(
    run: str,
    arguments: tuple[str, ...],
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
    size that the target takes. A notice says where inputs are unlike those of the training, as in their range,
    brightness or proportions. For classes: the mean probabilities, the majority vote, the entropy of the mean
    probabilities and the mutual information (the part of it that is disagreement), in nats. For values: mean and
    standard deviation. The run's data are needed only where the target has statistics and no --samples are given;
    KEY=VALUE says where they lie now, such as task.folder=/data.
    """
    overrides, files = split_overrides(arguments)
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    check_samples(samples, networks, seed)
    if out is not None:
        check_new_file(user_path(out), RESULT_FILES, "results are")
    chosen = loaded(run, checkpoint, device, target, overrides)
    x, names = read_inputs(
        [user_path(file) for file in files], chosen.experiment.target.spec.input_shape, chosen.trained_inputs
    )
    drawn = chosen.networks(networks, seed, samples)
    results = drawn.summary(x)
    classes = chosen.experiment.task.classes
    if out is not None:
        write_result(user_path(out), results, classes)
    rows = as_rows(results, names, classes)
    if json_wanted:
        click.echo(as_json({"networks": len(drawn), "classes": list(classes), "examples": rows}))
    elif out is not None:
        click.echo(f"{len(rows)} predictions of {len(drawn)} networks written to {out}")
    else:
        tables.print_prediction(rows)


@main.command()
@click.argument("folder", type=click.Path(), default="runs", metavar="[DIR]")
@json_option
def runs(folder: str, json_wanted: bool) -> None:
    """List the runs in a folder, by default runs/, with their state, step and accuracy."""
    rows = list_runs(user_path(folder))
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


for _command in (bench, check, compare_command, distill_command, new_plugin_command, plugins, report_command):
    main.add_command(_command)
