"""The list of runs: each one's state, from what lies in its folder."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

import hyperframe as hf
from hyperframe.config.overrides import read_yaml
from hyperframe.errors import RunError
from hyperframe.runs import listing
from hyperframe.runs.folder import claim
from hyperframe.runs.listing import list_runs


@pytest.fixture
def runs(tmp_path, small):
    small(tmp_path / "finished")
    small(tmp_path / "paused", trainer__stop_after=4)
    failing = {"trainer__steps": 40, "generator__batch_norm": False, "trainer__log_every": 1}
    with pytest.raises(hf.HyperframeError, match="not finite"):
        small(tmp_path / "failed", trainer__rate=1e30, **failing)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text("a: [")
    (tmp_path / "other").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.slow
def test_states(runs):
    rows = {row["run"].rpartition("/")[2]: row for row in list_runs(runs)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "damaged": "damaged",
        "failed": "failed",
        "finished": "finished",
        "paused": "paused",
    }
    assert [(rows[name]["step"], rows[name]["steps"]) for name in ("finished", "paused")] == [(6, 6), (4, 6)]
    assert "cannot be read" in rows["damaged"]["reason"]
    assert "not finite in step" in rows["failed"]["reason"]
    lines = [json.loads(line) for line in (runs / "finished" / "metrics.jsonl").read_text().splitlines()]
    last = [line["validation"] for line in lines if "validation" in line][-1]
    network, ensemble = rows["finished"]["network"], rows["finished"]["ensemble"]
    assert (network["name"], network["value"]) == ("accuracy", last["accuracy"]["mean"])
    assert (ensemble["label"], ensemble["value"]) == ("majority vote", last["ensemble"]["majority"])
    assert (rows["finished"]["target"], rows["finished"]["task"]) == ("digits_cnn", "digits")
    with claim(runs / "paused"):
        assert [row["state"] for row in list_runs(runs / "paused")] == ["running"]
    with pytest.raises(RunError, match="there is no folder"):
        list_runs(runs / "absent")


@pytest.mark.slow
def test_the_command(hyperframe, runs):
    code, out, _ = hyperframe("runs", runs)
    assert code == 0
    for part in ("finished", "6/6", "4/6", "digits_cnn on", "damaged/config.yaml cannot be read"):
        assert part in out
    code, out, _ = hyperframe("runs", runs, "--json")
    assert json.loads(out)["runs"] == list_runs(runs)
    assert hyperframe("runs", runs / "other")[1] == f"no runs in {runs / 'other'}\n"


HOSTILE = (
    *(None, 3, "accuracy", {"name": 1}, [3], [{"name": 3}], [{"name": "accuracy", "code": "x"}], [{"name": ""}]),
    [{"name": "accuracy", "better": "sideways"}],
    [{"name": "accuracy", "percent": "yes", "better": "greater"}],
    [{"name": "accuracy", "better": []}],
)
"""Values in the place of declarations, in a file that was changed by hand."""


@pytest.mark.slow
def test_other_figures_than_they_should_be_stop_nothing(runs):
    path = runs / "finished" / "metrics.jsonl"
    wrong = [
        {"step": 3, "validation": {"accuracy": "high", "ensemble": [], "metrics": [{"name": "accuracy"}]}},
        *({"step": 3, "validation": {"accuracy": 0.5, "metrics": metrics}} for metrics in HOSTILE),
        {"step": "x"},
        {"step": 1, "validation": {"accuracy": {"mean": "high"}}},
        {"step": True},
        {"no": 1},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in wrong) + "[]\n7\n{\n\x00\n")
    (row,) = list_runs(runs / "finished")
    assert (row["state"], row["network"], row["ensemble"]) == ("finished", None, None)


@pytest.fixture
def two(tmp_path, run):
    """A folder of two runs, of which the first can be damaged."""
    for name in ("a", "b"):
        shutil.copytree(run.folder, tmp_path / "runs" / name)
    return tmp_path / "runs"


def unlink_and_link(path, to):
    path.rename(path.with_name("away"))
    path.symlink_to(to)


BAD = {
    "checkpoints lead nowhere": lambda run: unlink_and_link(run / "checkpoints", "absent"),
    "checkpoints lead to themselves": lambda run: unlink_and_link(run / "checkpoints", "checkpoints"),
    "metrics lead to themselves": lambda run: unlink_and_link(run / "metrics.jsonl", "metrics.jsonl"),
    "metrics without an end": lambda run: os.truncate(run / "metrics.jsonl", 1 << 40),
    "metrics of empty lines": lambda run: (run / "metrics.jsonl").write_bytes(b"\n" * 20_000),
    "no number of steps": lambda run: (run / "config.yaml").write_text("trainer: {steps: [1]}\n"),
    "no text": lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"),
    "half a letter": lambda run: (run / "config.yaml").write_text('task: "\\ud800"\n'),
    "half a letter in metrics": lambda run: (run / "metrics.jsonl").write_text('{"step": 2, "failed": "\\ud800"}\n'),
    "escapes": lambda run: (run / "metrics.jsonl").write_text('{"step": 2, "failed": "\\u001b[31m"}\n'),
}
"""Faults of a run that a list names all the same."""


@pytest.mark.parametrize("wrong", BAD)
def test_one_bad_run_leaves_the_others_listed(hyperframe, two, wrong):
    BAD[wrong](two / "a")
    code, out, err = hyperframe("runs", two)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert ("at most 1,073,741,824 are read" in out) == (wrong == "metrics without an end")
    assert ("more than 10,000 of its lines are no results" in out) == (wrong == "metrics of empty lines")
    assert [row["state"] for row in list_runs(two)][1] == "finished"
    code, out, _ = hyperframe("runs", two, "--json")
    assert code == 0
    assert [row["run"].rpartition("/")[2] for row in json.loads(out)["runs"]] == ["a", "b"]


def test_a_folder_that_cannot_be_read_is_named(hyperframe, two, monkeypatch):
    stat = Path.stat

    def refused(path, **how):
        if two / "a" in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refused)
    first, second = list_runs(two)
    assert (first["state"], second["state"]) == ("damaged", "finished")
    assert first["reason"] == f"{two / 'a' / 'config.yaml'} cannot be read: Permission denied"
    assert hyperframe("runs", two)[0] == 0


def test_a_run_that_vanishes_meanwhile_is_not_listed(two, monkeypatch):
    def vanishing(path):
        if path.parent == two / "a":
            shutil.rmtree(two / "a")
        return read_yaml(path)

    monkeypatch.setattr(listing, "read_yaml", vanishing)
    assert [row["run"] for row in list_runs(two)] == [str(two / "b")]


def test_a_folder_whose_name_is_no_text(hyperframe, two):
    strange = Path(os.fsdecode(os.fsencode(two) + b"/a\xff\x1b[31m"))
    (two / "a").rename(strange)
    code, out, err = hyperframe("runs", two)
    assert (code, err) == (0, "")
    assert r"a\udcff\x1b[31m" in out
    code, out, _ = hyperframe("runs", two, "--json")
    assert json.loads(out)["runs"][0]["run"] == str(strange)
