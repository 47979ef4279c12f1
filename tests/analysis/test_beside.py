"""Reports of a run beside others: the table, what differs, the picture, and mistakes."""

import json
from pathlib import Path

import pytest
from pages import HOSTILE, Parsed, Shop
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.page.document import page
from hyperframe.analysis.report import collect, compare_with_first, evaluation_of
from hyperframe.analysis.rows.comparison import MISSING, comparison_rows, difference_rows
from hyperframe.api import make_registry
from hyperframe.runs import comparison
from hyperframe.runs.comparison import compare, compare_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: hf.train(
            "digits_hypernetwork", {**PERCEPTRON, "trainer.steps": 2, "objective.lambda": value}, out=folder / name
        )
        for name, value in (("first", 10), ("other<b>", 20))
    }


@pytest.fixture(scope="module")
def whole(runs):
    first, other = runs.values()
    content = collect(first, make_registry(), [])
    content["comparison"] = compare_with_first([first, other], content["evaluation"])
    return content, page(content, first.folder / "analyses")


def test_the_page_has_the_runs_side_by_side(whole, runs):
    content, text = whole
    parsed = Parsed(text)
    words = " ".join(parsed.words)
    assert "#compared" in parsed.links
    assert "compared" in parsed.places
    assert text.index('id="conclusions"') < text.index('id="compared"') < text.index('id="results"')
    assert "4 networks of each on the test set." in words
    for run in runs.values():
        assert run.folder.name in parsed.words
        results = next(row for row in content["comparison"]["runs"] if row["run"] == run.folder.name)["results"]
        accuracy = results["accuracy"]
        assert f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f}\u00a0%" in words
    assert "objective.lambda" in parsed.words
    assert [source[:22] for source in parsed.sources] == ["data:image/png;base64,"]


def test_a_report_of_one_run_says_nothing_of_others(whole, runs):
    content, _ = whole
    text = page({key: value for key, value in content.items() if key != "comparison"}, next(iter(runs.values())).folder)
    assert 'id="compared"' not in text


def test_names_and_values_of_runs_are_escaped(whole, runs):
    content, _ = whole
    comparison = json.loads(json.dumps(content["comparison"]).replace("other<b>", json.dumps(HOSTILE)[1:-1]))
    text = page({**content, "comparison": {**comparison, "picture": None}}, next(iter(runs.values())).folder)
    assert HOSTILE in " ".join(Parsed(text).words)


def test_rows_have_a_cell_for_each_run(whole):
    comparison = whole[0]["comparison"]
    rows = dict(comparison_rows(comparison))
    assert rows["step"] == ["2", "2"]
    assert all(len(cells) == 2 for cells in rows.values())
    assert dict(difference_rows(comparison))["objective.lambda"] == ["10.0", "20.0"]


def test_runs_without_such_metrics_have_no_picture(tmp_path):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    one, other = (hf.train("toy", {**settings, "trainer.seed": n}, out=tmp_path / f"toy{n}") for n in range(2))
    assert compare_with_first([one, other], evaluation_of(one))["picture"] is None


def test_runs_of_other_tasks_are_told_on_the_page(whole):
    content, text = whole
    assert "different tasks" not in text
    first, other = content["comparison"]["runs"]
    mixed = {**content["comparison"], "runs": [first, {**other, "task": "a<b>"}], "picture": None}
    told = " ".join(Parsed(page({**content, "comparison": mixed}, Path())).words)
    assert "These are different tasks (first digits, other<b> a<b>): results are not of the same data." in told


def test_what_tasks_show_alike_is_one_row(whole):
    content = json.loads(json.dumps(whole[0]["comparison"]))
    words = [label for label, _ in comparison_rows(content)]
    for metric in content["runs"][1]["results"]["metrics"]:
        metric |= {"selects": metric["name"] == "nll" and metric["of"] == "network", "mean_of": ""}
    rows = list(comparison_rows(content))
    assert [label for label, _ in rows] == words
    assert MISSING not in [cell for _, cells in rows for cell in cells]


def test_a_run_is_measured_once(runs, monkeypatch):
    first, other = runs.values()
    evaluation = evaluation_of(first, again=True)
    wanted = compare([run.folder for run in (first, other)], make_registry(), device="cpu")
    measured = []
    whole = comparison.measure
    monkeypatch.setattr(comparison, "measure", lambda of, *rest: measured.append(of) or whole(of, *rest))
    found = compare_with_first([first, other], evaluation)
    assert measured == [other.experiment]
    assert [row["results"] for row in found["runs"]] == [row["results"] for row in wanted["runs"]]
    assert [row["entropies"] for row in found["runs"]] == [row["entropies"] for row in wanted["runs"]]
    compare_runs([first, other], make_registry(), 2, evaluation=evaluation)  # of fewer networks it says nothing
    assert measured == [other.experiment, first.experiment, other.experiment]


def test_the_command_tells_of_the_runs_before_the_file(runs, hyperframe, tmp_path):
    (tmp_path / "report.html").touch()
    (tmp_path / "none").mkdir()
    first, other = (run.folder for run in runs.values())
    for compared, message in ((tmp_path / "none", "none"), (first, "are the same run"), (other, "exists already")):
        code, _, err = hyperframe("report", first, compared, "--device", "cpu", "--out", "report.html")
        assert code == 2
        assert message in err


def test_the_command_compares(runs, hyperframe, monkeypatch, tmp_path):
    first, other = (run.folder for run in runs.values())
    shop = Shop(own=lambda run, folder: {"highlights": {"a": "1"}})
    monkeypatch.setattr("hyperframe.api.make_registry", lambda extra=(): make_registry([shop, *extra]))
    names = "--analysis", "own", "--device", "cpu", "--out", tmp_path / "report.html"
    code, _, err = hyperframe("report", first, other, *names)
    assert (code, err) == (0, "")
    assert 'id="compared"' in (tmp_path / "report.html").read_text()
    assert len(json.loads((first / "results.json").read_text())["comparison"]["runs"]) == 2
    for wrong, message in ((first, "are the same run"), (tmp_path / "none", "none")):
        code, _, err = hyperframe("report", first, wrong, *names, "--again")
        assert code == 2
        assert message in err
    assert shop.done == ["own"]
