"""Analyses of third parties are found, run and kept, and named if they fail."""

import json
import shutil

import pytest
import torch

import hyperframe as hf
from hyperframe.analysis.runner import analyse, kept_analysis
from hyperframe.api import make_registry
from hyperframe.component import Component
from hyperframe.errors import HyperframeWarning, MemoryShortageError, PluginError, RunError
from hyperframe.hookspecs import hookimpl
from hyperframe.metrics import Metric
from hyperframe.runs.loading import load_run
from hyperframe.training.resume import resume_run


class Shop:
    """A plugin with one given analysis."""

    __name__ = "shop"

    def __init__(self, analysis, name="own", metrics=()):
        self.component = Component(name=name, factory=lambda options: analysis, metrics=metrics)

    @hookimpl
    def hyperframe_analyses(self):
        return [self.component]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = {"trainer.steps": 2, "trainer.networks": 4, "trainer.device": "cpu", "evaluation.networks": 2}
    return hf.train("digits_hypernetwork", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_figures_and_pictures_are_kept(run):
    def counts(run, folder):
        (folder / "picture.txt").write_text("a picture")
        return {"networks": len(run.sample(3)), "odd": float("nan")}

    found = analyse(run, "own", make_registry([Shop(counts)]))
    assert (found["run"], found["step"], found["networks"]) == (run.folder.name, 2, 3)
    folder = run.folder / "analyses" / "own"
    of = run.config.evaluation
    evaluation = {"seed": of.seed, "test_networks": of.test_networks, "statistics": of.statistics}
    origin = {"distribution": "shop", "version": "", "options": {}, "evaluation": evaluation}
    origin["gauges"] = run.config.plain()["gauges"]
    origin["steps"] = {}
    expected = {"run": "run", "step": 2, "analysis": origin, "networks": 3, "odd": None}
    assert json.loads((folder / "results.json").read_text()) == expected
    assert (folder / "picture.txt").read_text() == "a picture"


def test_declared_figures_are_told_with_the_results_and_must_be_there(run):
    metrics = (Metric(name="spread", better="greater", of="ensemble"),)
    found = analyse(run, "own", make_registry([Shop(lambda run, folder: {"ensemble": {"spread": 2}}, metrics=metrics)]))
    assert found["metrics"] == [metrics[0].plain()]
    with pytest.raises(PluginError, match=r"'own' of shop declares the metric 'spread' of the ensemble, but its res"):
        analyse(run, "own", make_registry([Shop(lambda run, folder: {"spread": 2}, metrics=metrics)]))


@pytest.mark.parametrize(
    ("analysis", "message"),
    [
        (lambda run, folder: 1 / 0, "analysis 'own' of shop failed: ZeroDivisionError"),
        (
            lambda run, folder: {"a": [{"b": object()}]},
            r"'own' of shop returns no plain data: results\['a'\]\[0\]\['b'\] is",
        ),
        (
            lambda run, folder: {"a": torch.ones(2)},
            r"'own' of shop returns no plain data: results\['a'\] is of type Tensor",
        ),
        (lambda run, folder: {"a": {(1, 2): 3}}, r"the key \(1, 2\) of results\['a'\] is of type tuple"),
        (lambda run, folder: None, "analysis 'own' of shop returns no dict of results, but NoneType"),
        (3, "analysis 'own' of shop: its factory makes int, which cannot be called with"),
    ],
)
def test_an_analysis_that_fails_is_named_with_its_error(run, analysis, message):
    with pytest.raises(PluginError, match=message):
        analyse(run, "own", make_registry([Shop(analysis)]))


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (
            {"pictures": "a.png"},
            "no report shows its 'pictures', which would have to be a list of what hf.analysis.keep_p",
        ),
        (
            {"tables": [{"titel": "a"}]},
            "no report shows its 'tables', .* a list of what hf.analysis.make_table returns",
        ),
        ({"highlights": [1]}, "no report shows its 'highlights', which would have to be a dict of labels and short"),
        (
            {"conclusions": [{"question": "qualty", "sentence": "Good."}]},
            "no report shows its conclusion: .* 'quality'",
        ),
    ],
)
def test_what_no_report_shows_is_told_and_kept(run, results, message):
    registry = make_registry([Shop(lambda run, folder: results)])
    with pytest.warns(HyperframeWarning, match=f"^analysis 'own' of shop: {message}"):
        found = analyse(run, "own", registry)
    assert found.items() >= results.items()


@pytest.mark.slow
def test_a_failing_figure_is_told_with_the_line_of_its_author(run):
    def draws(run, folder):
        hf.analysis.new_figure().subplots().plot([1, 2], [1])

    with pytest.raises(PluginError, match=r"first dimension.*\(test_runner\.py, line \d+\)$"):
        analyse(run, "own", make_registry([Shop(draws)]))


def no_memory(run, folder):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


def test_memory_that_runs_out_is_told_in_words(run):
    with pytest.raises(MemoryShortageError, match=r"^analysis 'own' of shop does not fit into memory; take smaller"):
        analyse(run, "own", make_registry([Shop(no_memory)]))


def removes(run, folder):
    shutil.rmtree(folder)
    raise ValueError("lines\n" * 500)


def test_one_that_removes_its_folder_and_says_much(run):
    with pytest.raises(PluginError, match=r"^analysis 'own' of shop failed: ValueError: lines lines .{,220}$"):
        analyse(run, "own", make_registry([Shop(removes)]))


def test_a_run_that_diverged_is_named(run, monkeypatch):
    other, registry = load_run(run.folder, make_registry()), make_registry([Shop(lambda run, folder: 1 / 0)])
    forward = other.experiment.target.forward
    monkeypatch.setattr(
        type(other.experiment.target), "forward", lambda self, *args, **words: forward(*args, **words) / 0
    )
    with pytest.raises(RunError, match=r"step 2: outputs of 2 of 2 networks \(number 0, 1\) are not finite numbers"):
        analyse(other, "own", registry)
    with torch.no_grad():
        for parameter in other.experiment.generator.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(RunError, match="step 2: weights of 2 of 2 networks"):
        analyse(other, "own", registry)


@pytest.mark.slow
def test_what_is_found_is_what_is_kept(run):
    results = {"pictures": ({"file": "a.png"},), "odd": float("inf"), 1: 2, "step": 77, "many": [0.125] * 200_000}
    registry = make_registry([Shop(lambda run, folder: results)])
    found = analyse(run, "own", registry)
    assert (found["step"], found["odd"], found["1"], type(found["pictures"])) == (2, None, 2, list)
    assert kept_analysis(run, "own", registry) == found
    with pytest.warns(HyperframeWarning, match="has done 2 steps, which is all"):
        other = resume_run(run.folder, {"evaluation.seed": 7}, registry)
    assert kept_analysis(other, "own", registry) is None


def test_the_runs_own_evaluation_is_not_overwritten(run):
    with pytest.raises(PluginError, match="that of the run's own evaluation"):
        analyse(run, "evaluation", make_registry([Shop(lambda run, folder: {}, "evaluation")]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyse", "nonsense"], "unknown analysis 'nonsense'"),
        (["analyse"], "Missing argument 'NAME...'. Analyses: answers, "),
        (["analyse", "pca", "-n", "3"], "No such option"),
        (["analyse", "pca", "trainer.steps=3"], "only where its data lie can be overridden"),
        (["evaluate", "pca"], "'pca' is not KEY=VALUE of the run's configuration; analyses and their options are for"),
        (["evaluate", "pca.draws=3"], "'hyperframe analyse RUN NAME... [NAME.OPTION=VALUE]...'"),
        (["evaluate", "--analysis", "pca"], "No such option"),
    ],
)
def test_wrong_arguments(run, hyperframe, arguments, message):
    code, out, err = hyperframe(arguments[0], run.folder, *arguments[1:])
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err
