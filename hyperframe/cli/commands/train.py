"""The command `train`."""

import shlex
from contextlib import nullcontext

import click

from hyperframe.cli.arguments import Command, json_option, registry_for, split_arguments
from hyperframe.cli.completion import complete_run, complete_settings
from hyperframe.errors import DataError, PluginError


@click.command(cls=Command)
@click.argument("arguments", nargs=-1, metavar="[CONFIG] [KEY=VALUE]...", shell_complete=complete_settings)
@click.option("--out", type=click.Path(), help="The run folder, absent or empty. [default: a new one under runs/]")
@click.option(
    "--resume",
    type=click.Path(),
    metavar="RUN",
    shell_complete=complete_run,
    help="Go on with this run from its last checkpoint.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be trained, and the memory and time that it takes; write nothing."
)
@json_option
def train(arguments: tuple[str, ...], out: str | None, resume: str | None, dry_run: bool, json_wanted: bool) -> None:
    """Train a generator, evaluate it on the test set, run evaluation.analyses, and name the run folder.

    CONFIG is a name that ships or a YAML file; the default is digits. KEY=VALUE changes a key of it, such as
    trainer.steps=500 or gauges=[scale]. 'hyperframe config' shows all keys. A target can be package.module:factory.

    With --resume a run goes on where it stopped, on the CPU bit for bit; KEY=VALUE can extend it (trainer.steps) or
    change how it is trained from there on. Ctrl-C, SIGTERM and the signals of
    schedulers (SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU) save before they end a training.

    With --dry-run all checks are made that come before a training, and a few steps are timed. Where data are missing,
    the rest is said all the same, and the exit code is 2. Only data that task.download fetches are kept.

    On several processes, such as one for each GPU: torchrun --nproc-per-node=K -m hyperframe train [CONFIG] ...
    """
    from hyperframe.analysis.runner import analyse_all
    from hyperframe.cli import tables
    from hyperframe.config.schema import load_config
    from hyperframe.runtime.distributed import joined, started
    from hyperframe.runtime.files import as_json
    from hyperframe.training.loop import train_run
    from hyperframe.training.progress_bar import ProgressReporter, shown_progress
    from hyperframe.training.reporter import Reporter, Warner
    from hyperframe.training.resume import resume_run

    quiet = json_wanted or not started().first
    reporter: Reporter = Warner() if quiet else ProgressReporter()
    source, overrides = split_arguments(arguments, "")
    if resume is not None and (source or out is not None):
        raise click.UsageError("with --resume the run's own folder and configuration are used: no CONFIG, no --out")
    if dry_run:
        if resume is not None:
            raise click.UsageError("--dry-run tries a new training, and --resume goes on with one")
        _dry_run(source or "digits", overrides, out, json_wanted)
        return
    with reporter if isinstance(reporter, ProgressReporter) else nullcontext(), joined() as processes:
        registry = registry_for(overrides, opens=resume is not None)
        if resume is not None:
            run = resume_run(resume, overrides, registry, reporter, processes)
        else:
            run = train_run(load_config(source or "digits", overrides, registry), registry, out, reporter, processes)
    if not processes.first:
        return
    if not run.finished:
        if json_wanted:
            steps = run.config.trainer.steps
            click.echo(as_json({"state": "paused", "run": str(run.folder), "step": run.step, "steps": steps}))
        return
    with shown_progress(json_wanted):
        results = run.evaluate()
    if not json_wanted:
        tables.print_evaluation(results)
    with shown_progress(json_wanted):
        found, failed = analyse_all(run, registry)
    if json_wanted:
        click.echo(as_json(results | ({"analyses": found} if found else {}) | ({"failed": failed} if failed else {})))
    else:
        tables.print_analyses(found, run.folder)
        report = f"hyperframe report {shlex.quote(str(run.folder))}"
        click.echo(f"beside deep ensembles of the same training cost, and more: {report}")
        click.echo(f"run folder: {run.folder}")
    if failed:
        raise PluginError("; ".join(failed.values()))


def _dry_run(source: str, overrides: list[str], out: str | None, json_wanted: bool) -> None:
    """Try a training, and print what it would be."""
    from hyperframe.cli import tables
    from hyperframe.config.schema import load_config
    from hyperframe.runtime.distributed import started
    from hyperframe.runtime.files import as_json
    from hyperframe.training.dry_run import dry_run

    if not started().alone:
        raise click.UsageError("--dry-run tries a training in one process; start it without torchrun")
    registry = registry_for(overrides)
    found = dry_run(load_config(source, overrides, registry), registry, out)
    if json_wanted:
        click.echo(as_json(found))
    else:
        tables.print_dry_run(found)
    if found["missing"] is not None:
        raise DataError(found["missing"])
