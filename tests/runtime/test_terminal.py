"""Lists on a terminal of 80 columns, and where standard output is none."""

import sys

import click
import hyperframe_launcher
import pytest
from rich.cells import cell_len

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.cli import tables
from hyperframe.cli.arguments import Command
from hyperframe.cli.main import main

NAMES = ["digits-20261129T012000Z-abc123", "a run with spaces [bold]", "mnist-own-20261129T012000Z-abc123-12"]
ROW = {"state": "finished", "step": 2000, "steps": 2000, "target": "torchvision", "task": "fashion_mnist"}
METRIC = {"name": "accuracy", "label": "accuracy", "better": "greater", "percent": True, "value": 0.5}
VOTE = {**METRIC, "name": "majority", "label": "majority vote", "of": "ensemble"}
ROWS = [{**ROW, "run": f"runs/{name}", "network": METRIC, "ensemble": VOTE, "reason": None} for name in NAMES]


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


def test_rows_are_lines_where_standard_output_is_no_terminal(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    tables.print_runs(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(NAMES)
    assert all(line.startswith(f"{name}  ") for name, line in zip(NAMES, lines[1:], strict=True))
    components = make_registry().all()
    tables.print_plugins(components, [])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(components)
    for entry, line in zip(components, lines[1:], strict=True):
        assert line.split()[:3] == [entry.kind, entry.component.name, entry.source.distribution]
        assert line.rstrip().endswith(entry.component.summary)


def test_names_are_whole_on_a_terminal(capsys, terminal):
    tables.print_runs(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert all(any(name in line for line in lines) for name in NAMES)
    components = make_registry().all()
    tables.print_plugins(components, [])
    lines = capsys.readouterr().out.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert len(lines) < 4 * len(components)
    for entry in components:
        assert any(line.split()[:1] == [entry.component.name] for line in lines)
    words = {word for line in lines for word in line.split()}
    assert {word for entry in components for word in entry.component.summary.split()} <= words | {"("}


def commands(group, before=""):
    """All commands by what is typed for them, those of groups as well."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


@pytest.mark.parametrize(("name", "command"), sorted(commands(main)))
def test_no_command_takes_the_last_of_two(name, command):
    assert isinstance(command, Command)
    for option in command.params:
        if option.param_type_name == "option" and not option.multiple and not option.is_flag:
            with pytest.raises(click.UsageError, match="is given twice"):
                command.make_context(name, [option.opts[-1], "1", "x", option.opts[0], "1"])


@pytest.mark.parametrize(
    ("is_terminal", "reporter", "shown"), [(True, None, True), (False, None, False), (True, hf.Reporter(), False)]
)
def test_python_shows_progress_on_a_terminal(capsys, monkeypatch, tmp_path, is_terminal, reporter, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    settings = {"trainer.steps": 1, "trainer.networks": 2, "evaluation.networks": 2}
    hf.train("digits_hypernetwork", settings, out=tmp_path / "run", reporter=reporter)
    assert ("training on" in capsys.readouterr().err) == shown


def test_the_version_needs_no_torch(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hyperframe", "--version"])
    monkeypatch.setattr(hyperframe_launcher, "_prepare_torch", lambda: pytest.fail("torch is imported"))
    hyperframe_launcher.main()
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])
    assert shown == capsys.readouterr().out
