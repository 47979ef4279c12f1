"""The list of runs: each one's state, from what lies in its folder."""

import json

import pytest

import hyperframe as hf
from hyperframe.errors import RunError
from hyperframe.folder import claimed
from hyperframe.listing import list_runs


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
    with claimed(runs / "paused"):
        assert [row["state"] for row in list_runs(runs / "paused")] == ["running"]
    with pytest.raises(RunError, match="there is no folder"):
        list_runs(runs / "absent")


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
"""What stands in the place of declarations in a file that was changed by hand."""


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
