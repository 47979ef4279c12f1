"""Commands about components: all that are installed, their laws, and packages begun from a template."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from hyperframe.cli.arguments import Command, json_option, registry_with
from hyperframe.cli.scaffold import TEMPLATES, new_plugin
from hyperframe.errors import HyperframeError

LAWFUL = [kind for kind in TEMPLATES if kind != "analysis"]
"""The kinds that there are laws of."""

CHECK_FAILED = 1
"""Exit code where a check fails: the command has done what it should, the component has not."""


@click.command(cls=Command)
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option("--kind", type=click.Choice(LAWFUL), help="Which kind, where a name stands for several.")
@click.option("--task", default="digits", show_default=True, help="Gives a target without a spec its inputs' shape.")
@json_option
def check(name: str, options: tuple[str, ...], kind: str | None, task: str, json_wanted: bool) -> None:
    """Try whether a component keeps the laws of its kind.

    NAME is a component of any kind: a target, also torchvision:NAME and package.module:factory, a gauge, or several
    with commas between them, an entropy estimator, a diversity term, a generator or a task. OPTION=VALUE are options of
    it. Each law is tried on random weights and inputs; where it fails, the place, the smallest example and the usual
    cause are shown, and the exit code is 1. A law that says nothing of the component is called vacuous.
    """
    from hyperframe.cli import tables
    from hyperframe.config.import_path import is_factory
    from hyperframe.config.overrides import split_all
    from hyperframe.runtime.files import as_json

    kit = _kit()
    registry = registry_with([name] if is_factory(name) else [])
    pairs = dict(split_all(options))
    found = kit.checks(name, pairs, kind=kind, task=task, registry=registry)
    rows: list[dict[str, Any]] = []
    for one in found:
        verdict = one.verdict()
        rows.append({"kind": one.kind, "component": one.component, **verdict.plain()})
        if not json_wanted:
            tables.print_verdict(one.kind, verdict.state, verdict.check, verdict.message, verdict.explain())
    failed = sum(row["state"] == "failed" for row in rows)
    if json_wanted:
        click.echo(as_json({"passed": not failed, "checks": rows}))
    else:
        vacuous = sum(row["state"] == "vacuous" for row in rows)
        passed = len(rows) - failed - vacuous
        click.echo(f"{name}: {passed} passed, {failed} failed, {vacuous} vacuous")
    if failed:
        sys.exit(CHECK_FAILED)


def _kit() -> Any:
    """The conformance kit, which needs hypothesis."""
    try:
        from hyperframe.testing import kit
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise HyperframeError("checks need hypothesis: pip install 'hyperframe-nn[testing]'") from error
    return kit


@click.command(name="new-plugin", cls=Command)
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(list(TEMPLATES)), default="target", show_default=True, help="What it registers."
)
def new_plugin_command(name: str, kind: str) -> None:
    """Begin a package of one's own in ./NAME: a component, its registration, and a test that passes at once."""
    from hyperframe.api import make_registry

    folder = new_plugin(name, kind, make_registry(), Path())
    package = name.replace("-", "_")
    click.echo(
        f"{kind} '{package}' written to {folder}. Next:\n"
        f"  pip install -e {shlex.quote(f'./{folder}')}\n"
        f"  pytest {folder}\n"
        f"  {TEMPLATES[kind].use(package)}"
    )


@click.command(cls=Command)
@json_option
def plugins(json_wanted: bool) -> None:
    """List all components that are installed, and the plugins that could not be loaded."""
    from hyperframe.api import make_registry
    from hyperframe.cli import tables
    from hyperframe.runtime.files import as_json

    registry = make_registry()
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
