"""Reports of a run beside others: the table, what differs, the picture, and mistakes."""

import json

import pytest
from pages import HOSTILE, Parsed, Shop
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.comparison_rows import comparison_rows, difference_rows
from hyperframe.analysis.page.document import page
from hyperframe.analysis.report import collect, compare_with
from hyperframe.api import make_registry


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
    content = {**collect(first, make_registry(), []), "comparison": compare_with(first, [other.folder])}
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
        assert f"{results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}" in words
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
    assert compare_with(one, [other.folder])["picture"] is None


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
