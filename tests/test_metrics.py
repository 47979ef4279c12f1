"""Metrics that a task declares: shown everywhere without the core knowing any, and checked when they are wrong."""

import ast
import json
import re
import sys
from importlib import resources
from pathlib import Path

import attrs
import pytest
import torch
from matplotlib.figure import Figure

import hyperframe as hf
from hyperframe.analysis.conclusions import evaluation_sentence
from hyperframe.analysis.runner import analyse
from hyperframe.cli.scaffold import TEMPLATES
from hyperframe.cli.tables import evaluation_rows
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import PluginError, RunError
from hyperframe.metrics import check_metrics, declare_results, first_metric, metrics_of, validation_score
from hyperframe.runs.checkpoints import validation_scores
from hyperframe.runs.comparison import compare, write_picture
from hyperframe.testing.kit import checks

SHORT = {
    "task": "orientation",
    "trainer.steps": 4,
    "trainer.networks": 16,
    "trainer.device": "cpu",
    "trainer.threads": 1,
    "evaluation.every": 2,
    "evaluation.networks": 3,
    "evaluation.test_networks": 3,
}
PACKAGE = Path(hf.__file__).parent
SHOWING = (
    "cli/tables",
    "analysis/rows/evaluation",
    "analysis/report",
    "analysis/conclusions",
    "analysis/page/document",
    "analysis/page/conclusions",
    "runs/listing",
    "runs/comparison",
    "runs/checkpoints",
    "training/loop",
    "training/progress_bar",
    "experiment/evaluation",
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The code of the page on tasks: the module with the task, and the reporter."""
    text = (Path(__file__).parent.parent / "docs" / "task.md").read_text(encoding="utf-8")
    task, *_, reporter = BLOCK.findall(text)
    return task, reporter


@pytest.fixture(scope="module")
def runs(page, tmp_path_factory):
    """A distribution with the task is installed; two runs of it."""
    folder = tmp_path_factory.mktemp("metrics")
    info = folder / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hyperframe]\nown = third_party_orientation\n")
    (folder / "third_party_orientation.py").write_text(page[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for name, seed in (("first", 0), ("second", 1)):
            hf.train("digits_hypernetwork", {**SHORT, "trainer.seed": seed}, out=folder / name)
        yield folder
    sys.modules.pop("third_party_orientation", None)


def test_the_page_is_what_new_plugin_writes(page):
    text = (resources.files("hyperframe.templates") / "task.txt").read_text(encoding="utf-8")
    assert page[0] == text.replace("PACKAGE", "orientation").replace("SUMMARY", TEMPLATES["task"].summary)


@pytest.mark.slow
def test_the_pages_task_keeps_the_laws(runs):
    registry = Registry(make_plugin_manager())
    verdicts = [check.verdict() for check in checks("orientation", kind="task", registry=registry)]
    assert [verdict.explain() for verdict in verdicts if verdict.state != "passed"] == []
    assert len(verdicts) > 6


def test_the_pages_reporter_hears_of_all(page, runs, capsys):
    found = {"hf": hf}
    exec(compile(page[1], "page", "exec"), found)
    hf.train("digits_hypernetwork", {**SHORT, "trainer.stop_after": 2}, out=runs / "reported", reporter=found["Best"]())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "orientation from step 0 on"
    assert re.fullmatch(r"step 2: mean absolute error \(°\) ↓ \d+(\.\d+)?", lines[1])
    assert lines[2] == "paused at step 2: trainer.stop_after=2 was reached"


def test_evaluate_shows_label_unit_and_direction(runs, hyperframe):
    code, out, err = hyperframe("evaluate", runs / "first", "--device", "cpu")
    assert (code, err) == (0, "")
    results = json.loads(hyperframe("evaluate", runs / "first", "--device", "cpu", "--json")[1])
    one = results["mae"]
    rows = dict(evaluation_rows(results))
    assert rows["mean absolute error of one network, mean (°) ↓"] == f"{one['mean']:.4g} ± {one['std']:.4g}"
    assert rows["worst and best network"] == f"{one['max']:.4g}, {one['min']:.4g}"  # lower is better
    assert rows["ensemble: mean absolute error (°) ↓"] == f"{results['ensemble']['mae']:.4g}"
    assert "ensemble: circular deviation between the networks (°)" in rows
    for words, text in rows.items():
        assert words in out
        assert text in out
    assert [(one["name"], one["unit"], one["better"]) for one in results["metrics"]] == [
        ("mae", "°", "lower"),
        ("mae", "°", "lower"),
        ("spread", "°", ""),
    ]


def test_an_ensemble_grows_by_the_tasks_own_metrics(runs):
    """And the first screen of a report tells what one network and the ensemble are worth by them."""
    run = hf.load(runs / "first", device="cpu")
    found = analyse(run, "ensembles", run.registry, {"draws": 2})
    assert list(found["growth"]) == ["mae"]
    assert found["conclusions"][0]["sentence"].startswith("One network has ")
    assert "° (mean absolute error)" in found["conclusions"][0]["sentence"]
    assert evaluation_sentence(run.evaluate()).startswith("Mean absolute error: ")


def test_compare_shows_label_unit_and_direction_and_draws_them(runs, hyperframe, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    picture = tmp_path / "picture.png"
    code, out, err = hyperframe("compare", runs / "first", runs / "second", "--device", "cpu", "--out", picture)
    assert (code, err) == (0, "")
    for words in (
        "mean absolute error of one network (°) ↓",
        "ensemble: mean absolute error (°) ↓",
        "ensemble: circular deviation between the networks (°)",
    ):
        (line,) = [line for line in out.splitlines() if words in line]
        assert "–" not in line
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_metrics_without_a_counterpart_are_not_drawn(runs, tmp_path):
    registry = Registry(make_plugin_manager())
    content = compare([runs / "first", runs / "second"], registry, 2, device="cpu")
    for row in content["runs"]:
        row["results"]["metrics"] = row["results"]["metrics"][:-1]  # nothing is left for the x axis
    with pytest.raises(RunError, match="is not drawn: none of the runs is of a task whose metrics can be drawn"):
        write_picture(tmp_path / "picture.png", content)
    assert not (tmp_path / "picture.png").exists()


def test_report_shows_label_unit_and_direction(runs, hyperframe):
    code, _, _ = hyperframe("report", runs / "first", "--device", "cpu", "--analysis", "accuracies")
    assert code == 0
    (file,) = (runs / "first").glob("*.html")
    text = file.read_text(encoding="utf-8")
    assert "mean absolute error of one network, mean (°) ↓" in text
    assert "ensemble: circular deviation between the networks (°)" in text
    found = json.loads((runs / "first" / "analyses" / "accuracies" / "results.json").read_text())
    assert (found["metric"]["label"], found["metric"]["unit"]) == ("mean absolute error", "°")
    assert re.fullmatch(r"[\d.]+ ± [\d.]+ ° \([\d.]+ to [\d.]+ °\)", next(iter(found["highlights"].values())))


def test_analyses_of_scores_show_the_unit(runs):
    run = hf.load(runs / "first", device="cpu")
    labels = set()

    def savefig(self, file, **_):
        labels.update(axes.get_ylabel() for axes in self.axes)
        Path(file).write_bytes(b"")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        plane = analyse(run, "plane", run.registry, {"points": 2, "examples": 20})
        analyse(run, "paths", run.registry, {"pairs": 1, "points": 3, "examples": 20, "bezier_pairs": 0})
    assert re.fullmatch(r"[\d.]+ to [\d.]+ °", plane["highlights"]["absolute error between three drawn z"])
    assert "absolute error, °" in labels


def test_runs_shows_label_unit_and_direction(runs, hyperframe):
    code, out, _ = hyperframe("runs", runs)
    assert code == 0
    rows = {Path(row["run"]).name: row for row in json.loads(hyperframe("runs", runs, "--json")[1])["runs"]}
    for name in ("first", "second"):
        single, together = rows[name]["network"], rows[name]["ensemble"]
        assert f"mean absolute error (°) ↓ {single['value']:.4g}" in out
        assert f"mean absolute error (°) ↓ {together['value']:.4g}" in out


def test_the_best_checkpoint_is_the_one_with_the_lowest_selecting_metric(runs):
    lines = [json.loads(line) for line in (runs / "first" / "metrics.jsonl").read_text().splitlines()]
    errors = {line["step"]: line["validation"]["mae"]["mean"] for line in lines if "validation" in line}
    best = min(errors, key=errors.get)
    assert validation_scores(runs / "first")[best] == -errors[best]
    assert hf.load(runs / "first", checkpoint="best", device="cpu").step == best


def test_a_run_of_an_own_metric_can_be_distilled(runs, tmp_path):
    run = hf.load(runs / "first", device="cpu")
    found = hf.distill(run, tmp_path / "one.safetensors", "average", hf.DistillationOptions(networks=3))
    assert found["metrics"][0]["label"] == "mean absolute error"
    evaluated = run.evaluate(3)
    assert found["results"]["ensemble"]["score"] == pytest.approx(evaluated["ensemble"]["mae"])
    assert found["results"]["mean member"]["score"] == pytest.approx(evaluated["mae"]["mean"])


def single(**changes):
    return hf.Metric(**{"name": "mae", "better": "lower", "selects": True, **changes})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, ValueError),
        ({"name": 3}, TypeError),
        ({"label": ""}, ValueError),
        ({"unit": None}, TypeError),
        ({"better": "less"}, ValueError),
        ({"of": "networks"}, ValueError),
        ({"percent": 1}, TypeError),
        ({"percent": True, "unit": "°"}, ValueError),
        ({"better": ""}, ValueError),
        ({"of": "ensemble"}, ValueError),
        ({"mean_of": "mae"}, ValueError),
    ],
)
def test_a_declaration_that_contradicts_itself_is_none(changes, error):
    with pytest.raises(error):
        single(**changes)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([], "exactly one of its metrics says by 'selects' which checkpoint is best, but none does"),
        ([single(), single(name="rmse")], "but 'mae', 'rmse'"),
        ([single(), single(selects=False)], "two metrics of the network are called 'mae'"),
        ([single(), hf.Metric(name="vote", of="ensemble", mean_of="accuracy")], "of 'accuracy', which is none"),
        ([single(), "accuracy"], "hold 'accuracy', which is no hyperframe.Metric"),
        ("mae", "its metrics hold 'm', which is no hyperframe.Metric"),
        (None, "its metrics are None, not a sequence of hyperframe.Metric"),
    ],
)
def test_declarations_that_do_not_fit_together_are_named(metrics, message):
    with pytest.raises(PluginError, match=re.escape(message)):
        check_metrics(metrics, "own")


def test_a_training_with_wrong_declarations_writes_nothing(runs, tmp_path):
    registry = Registry(make_plugin_manager())
    task = type(registry.get("task", "orientation").component.factory(None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "metrics", task.metrics[1:])
        with pytest.raises(PluginError, match="task 'orientation': exactly one of its metrics"):
            hf.train("digits_hypernetwork", SHORT, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_metric_that_the_meter_does_not_find_is_named():
    metrics = [single(), hf.Metric(name="vote", of="ensemble")]
    with pytest.raises(PluginError, match="declares the metric 'vote' of the ensemble, but its results have no number"):
        declare_results(metrics, {"mae": 1.0, "vote": 1.0}, "task 'own'")
    found = declare_results(metrics, {"mae": 1.0, "ensemble": {"vote": 2}}, "task 'own'")
    assert metrics_of(json.loads(json.dumps(found))) == metrics


@pytest.mark.parametrize(
    ("label", "head", "title"),
    [
        ("accuracy", "", "Accuracy"),
        ("rmse", "", "RMSE"),
        ("recall: all classes", "", "Recall: all classes"),
        ("digit: accuracy", "digit", "digit: accuracy"),
        ("x: f", "x", "x: f"),
    ],
)
def test_titles_keep_the_names_of_heads(label, head, title):
    assert hf.Metric(name="own", label=label, head=head).title == title


def test_scores_order_by_the_direction():
    metrics = [hf.Metric(name="spread", of="ensemble"), single()]
    assert validation_score(metrics, {"mae": 2}) == -2.0
    assert validation_score([single(better="greater")], {"mae": {"mean": 2}}) == 2.0
    assert first_metric(metrics, "ensemble") is None
    assert first_metric(metrics, "network") == metrics[1]


def test_moments_over_networks():
    values = torch.tensor([1.0, 2.0, 4.0, 5.0], dtype=torch.float64)
    assert hf.over_networks(values) == {"mean": 3.0, "std": pytest.approx(2.5**0.5), "min": 1.0, "max": 5.0}


def test_a_meter_of_ones_own_must_say_both():
    with pytest.raises(NotImplementedError, match="Meter must take in outputs"):
        hf.Meter().update(torch.zeros(1, 1, 1), torch.zeros(1), 0, 0)
    with pytest.raises(NotImplementedError, match="Meter must say what it found"):
        hf.Meter().result()


def test_the_core_knows_no_metric_by_name(registry):
    """No module that shows metrics names one that the tasks that ship declare."""
    tasks = (hf.ClassificationTask, hf.RegressionTask)
    names = {metric.name for task in tasks for metric in task.metrics}
    for module in SHOWING:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        # Any training has a loss; the likelihood is what `distill` says beside the metric.
        assert not texts & (names - {"loss", "nll"}), module


def test_no_analysis_is_known_to_reports_by_name(registry):
    components = [entry.component for entry in registry.all() if entry.kind == "analysis"]
    assert len({component.place for component in components}) == len(components)
    texts = "".join(
        (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        for name in ("analysis/report", "analysis/conclusions", "analysis/page/document", "analysis/page/conclusions")
    )
    assert [component.name for component in components if f'"{component.name}"' in texts] == []
    own = attrs.evolve(components[0], name="own_one", title="")
    assert own.heading == "Own one"
