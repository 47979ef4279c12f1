"""The analysis of how accuracies of drawn networks are distributed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Residual
from tiny import GENERATED, PERCEPTRON

import hyperframe as hf
import hyperframe.builtin.analyses.accuracies as module
from hyperframe.analysis.runner import analyse, kept_analysis
from hyperframe.api import make_registry
from hyperframe.errors import HyperframeWarning, RunError

FEW = settings(max_examples=20)
SETTINGS = {**PERCEPTRON, "trainer.steps": 3, "evaluation.test_networks": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    return hf.train("digits_hypernetwork", SETTINGS, out=folder / "run")


def run_analysis(run, **options):
    return analyse(run, "accuracies", make_registry(), options)


@pytest.mark.slow
def test_values_are_those_of_the_evaluation(run):
    found = run_analysis(run)
    (own,) = found["runs"]
    results = run.evaluate()
    assert found["metric"]["name"] == "accuracy"
    assert len(own["values"]) == own["networks"] == 12
    for key, value in results["accuracy"].items():
        assert own[key] == pytest.approx(value, abs=1e-6)
    assert own["min"] <= own["median"] <= own["max"]
    files = {path.name for path in (run.folder / "analyses" / "accuracies").iterdir()}
    assert files == {"accuracies.png", "results.json"}


@pytest.mark.slow
def test_runs_with_different_lambda_are_labelled_by_it(run, folder):
    other = hf.train("digits_hypernetwork", {**SETTINGS, "objective.lambda": 10.0}, out=folder / "other")
    found = run_analysis(run, other=str(other.folder), networks=3)
    assert [(own["name"], own["label"]) for own in found["runs"]] == [
        ("run", "lambda = 1,000"),
        ("other", "lambda = 10"),
    ]
    assert found["runs"][1]["values"] == run_analysis(other, networks=3)["runs"][0]["values"]
    assert len(found["highlights"]) == 2


@pytest.mark.slow
def test_what_was_found_is_taken_again_until_the_other_run_goes_on(run, tmp_path):
    other = hf.train("digits_hypernetwork", SETTINGS, out=tmp_path / "other")
    options = {"other": str(other.folder), "networks": 2, "examples": 20}
    found = run_analysis(run, **options)
    assert found["analysis"]["steps"] == {"other": 3}
    assert kept_analysis(run, "accuracies", make_registry(), options) == found
    with pytest.warns(HyperframeWarning, match="steps"):
        hf.resume(other.folder, {"trainer.steps": 4})
    assert kept_analysis(run, "accuracies", make_registry(), options) is None


class Configured:
    """A run's folder and objective."""

    def __init__(self, folder, objective):
        self.folder, self._objective = Path(folder), objective
        self.config = self

    def plain(self):
        return {"objective": self._objective}


@pytest.mark.parametrize(
    ("objectives", "labels"),
    [
        (
            [{"name": "mine", "warmth": 2.5, "lambda": 1}, {"name": "mine", "warmth": 1000, "lambda": 1}],
            ["warmth = 2.5", "warmth = 1,000"],
        ),
        ([{"name": "mine", "kind": "cold"}, {"name": "mine", "kind": "warm"}], ["kind = cold", "kind = warm"]),
        ([{"name": "mine", "warmth": 2}, {"name": "other", "warmth": 3}], ["a", "b"]),
        ([{"name": "mine", "warmth": 2}, {"name": "mine", "warmth": 2}], ["a", "b"]),
        ([{"name": "mine"}, {"name": "mine"}], ["a", "b"]),
        ([{"name": "mine", "warmth": 2}], ["warmth = 2"]),
    ],
)
def test_labels_are_the_first_option_of_any_objective_that_tells_runs_apart(objectives, labels):
    runs = [Configured(name, objective) for name, objective in zip("ab", objectives, strict=False)]
    assert module._labels(runs) == labels


@pytest.mark.slow
def test_runs_with_the_same_lambda_are_labelled_by_their_names(run, folder):
    found = run_analysis(run, other=str(run.folder), networks=2, examples=20)
    assert [own["label"] for own in found["runs"]] == ["run", "run, the other one"]
    assert found["examples"] == 20
    assert found["runs"][0]["values"] == found["runs"][1]["values"]


@pytest.mark.slow
def test_errors_of_a_regression_and_one_network_alone(tmp_path, run):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "objective": "trade_off"}
    other = hf.train("diabetes", settings, out=tmp_path / "regression")
    found = run_analysis(other, networks=1)
    assert found["metric"]["name"] == "rmse"
    assert found["runs"][0]["std"] == 0
    with pytest.raises(RunError, match="is of task 'diabetes'; it must be of 'digits'"):
        run_analysis(run, other=str(other.folder))
    with pytest.raises(RunError, match="nowhere"):
        run_analysis(run, other=str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_networks_keep_their_own_statistics(tmp_path):
    settings = {**GENERATED, "trainer.steps": 2}
    run = hf.train("digits_hypernetwork", settings, module=Residual(4), out=tmp_path / "run")
    assert run_analysis(run, networks=3)["runs"][0]["mean"] == pytest.approx(
        run.evaluate(3)["accuracy"]["mean"], abs=0.01
    )


def test_it_goes_on_after_an_interruption(run, monkeypatch):
    monkeypatch.setattr(module, "MEASURED_AT_ONCE", 4)
    whole, calls, own_results = run_analysis(run), [], module.own_results

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return own_results(*arguments)

    monkeypatch.setattr(module, "own_results", interrupted)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        run_analysis(run)
    assert run_analysis(run) == whole
    assert len(calls) == 4  # three parts, one of them twice


@FEW
@given(st.lists(st.integers(0, 60), min_size=1, max_size=20), st.sampled_from([7, 60, 500, 10_000]))
def test_bins_hold_everything_and_the_same_number_of_accuracies(counts, examples):
    values = [100 * count / examples for count in counts]
    edges = module._edges(values, 100 / examples)
    assert len(edges) <= module.BINS + 2
    assert edges[0] < min(values) <= max(values) < edges[-1]
    width = (edges[1] - edges[0]) * examples / 100
    assert width == pytest.approx(round(width), rel=1e-6)


@FEW
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
def test_bins_of_other_figures_hold_everything(values):
    edges = module._edges(values, 0.0)
    assert 2 <= len(edges) <= module.BINS + 3
    assert edges[0] <= min(values) <= max(values) <= edges[-1]
    assert edges == sorted(set(edges))
