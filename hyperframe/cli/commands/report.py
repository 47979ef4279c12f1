"""The command `report`."""

import webbrowser
from pathlib import Path

import click

from hyperframe.cli.arguments import Command, json_option, open_run, run_options, split_overrides
from hyperframe.cli.completion import complete_run
from hyperframe.errors import PluginError, RunError
from hyperframe.runtime.progress import quantity

REPORT = "report.html"


@click.command(name="report", cls=Command)
@run_options
@click.argument(
    "arguments",
    nargs=-1,
    type=click.Path(),
    metavar="[RUN]... [KEY=VALUE]... [NAME.OPTION=VALUE]...",
    shell_complete=complete_run,
)
@click.option("--analysis", metavar="NAME[,NAME...]", help="Run these analyses. [default: all that are installed]")
@click.option("--out", type=click.Path(), metavar="FILE.html", help="The report. [default: RUN/report.html]")
@click.option("--open", "opened", is_flag=True, help="Open the report in a browser.")
@click.option("--again", is_flag=True, help="Take nothing that is kept: make all anew, and replace the report.")
@json_option
def report_command(
    run: str,
    checkpoint: str,
    device: str,
    target: str | None,
    arguments: tuple[str, ...],
    analysis: str | None,
    out: str | None,
    opened: bool,
    again: bool,
    json_wanted: bool,
) -> None:
    """Write one HTML file with a run's evaluation and all analyses that apply to it: results, pictures, explanations.

    RUN is a run folder. The file needs no network and no other file. All results are also written to RUN/results.json.
    What has been found for the same checkpoint and options is not worked out again; after Ctrl-C the same command goes
    on from where it was. Options of an analysis are written behind the run, such as ensembles.draws=5. Analyses that
    have nothing to say about such a run are named with the reason; where one fails, the report is written without it,
    and the exit code is 2. Further runs are compared with RUN on its page, as 'hyperframe compare' does it. KEY=VALUE
    says where the run's data lie now, such as task.folder=/data.
    """
    from hyperframe.analysis.page.document import page
    from hyperframe.analysis.report import collect, compare_with_first, evaluation_of, report_order
    from hyperframe.analysis.runner import chosen_names, chosen_options
    from hyperframe.api import make_registry
    from hyperframe.runs.comparison import load_runs
    from hyperframe.runs.folder import ANALYSES, RESULTS, check_is_run
    from hyperframe.runtime.files import as_json, user_path, write_json, write_text
    from hyperframe.runtime.terminal import printable
    from hyperframe.training.progress_bar import shown_progress

    overrides, rest = split_overrides(arguments)
    options = [argument for argument in rest if "=" in argument]
    folder, others = check_is_run(run), [check_is_run(other) for other in rest if other not in options]
    registry = make_registry()
    names = report_order(registry) if analysis is None else chosen_names(analysis)
    chosen_for = chosen_options(options, names, registry, installed=analysis is None)
    chosen = open_run(run, checkpoint, device, target, overrides)
    runs = [chosen]
    if others:
        runs = load_runs([chosen, *others], chosen.registry, device=device, checkpoint=checkpoint, overrides=overrides)
    file = folder / REPORT if out is None else user_path(out)
    _check_file(file, again)
    with shown_progress(json_wanted):
        evaluation = evaluation_of(chosen, again=again)
        # Before the analyses, since what does not fit together is then told before their work.
        beside = {"comparison": compare_with_first(runs, evaluation)} if others else {}
        content = collect(chosen, registry, names, chosen_for, evaluation=evaluation, again=again) | beside
    write_json(folder / RESULTS, content)
    write_text(file, page(content, folder / ANALYSES))
    if json_wanted:
        click.echo(as_json({**content, "report": str(file)}))
    else:
        for name, reason in content["left_out"].items():
            click.echo(printable(f"left out {name}: {reason}"))
        click.echo(f"report of {quantity(len(content['analyses']), 'analysis', 'analyses')}: {file}")
    if opened:
        webbrowser.open(file.resolve().as_uri())
    if content["failed"]:
        raise PluginError("; ".join(content["failed"].values()))


def _check_file(file: Path, again: bool) -> None:
    """Check that the report can get this name, before any work is done."""
    from hyperframe.runtime.files import check_writable, exists

    if file.suffix != ".html":
        raise RunError(f"{file}: the report is written to a file that ends in .html")
    if file.is_dir():
        raise RunError(f"{file} is a folder; --out FILE.html names a file")
    check_writable(file)
    if exists(file) and not again:
        raise RunError(
            f"{file} exists already; --again makes all of it anew and replaces it, --out FILE.html writes another one"
        )
