"""Runs side by side: what differs, results of as many networks of each, and the picture."""

import json
import shutil

import pytest
from tiny import GENERATED, PERCEPTRON

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.component import Component
from hyperframe.config.choices import choose
from hyperframe.errors import HyperframeWarning, RunError
from hyperframe.hookspecs import hookimpl
from hyperframe.runs.comparison import compare, differences, training_seconds, write_picture
from hyperframe.targets.weights import flatten

TINY = {**PERCEPTRON, "trainer.steps": 3, "trainer.log_every": 2, "evaluation.examples": 20}
VALUES = {
    **GENERATED,
    "task": "diabetes",
    "target": {"name": "mlp", "input_shape": [10], "hidden": [4], "outputs": 1},
    "trainer.steps": 2,
}
HELD = {"generator": "direct", "generator.networks": 3, "trainer.networks": 3, "diversity": ["none"], "gauges": []}

ESTIMATOR = "kozachenko_leonenko"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four runs: of the same target twice, of one that holds three networks, and of values."""
    parent = tmp_path_factory.mktemp("runs")
    direct = {key: value for key, value in TINY.items() if not key.startswith("generator")}
    settings = {
        "first": TINY,
        "second": {**TINY, "objective.lambda": 10, "evaluation.test_networks": 5},
        "held": {**direct, **HELD},
        "values": VALUES,
    }
    for name, own in settings.items():
        hf.train("digits_hypernetwork", own, out=parent / name)
    return parent


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.slow
def test_figures_are_those_of_as_many_networks_of_each(runs, registry):
    before = everything(runs)
    found = compare([runs / "first", runs / "second"], registry, device="cpu")
    assert found["networks"] == 4  # the smaller of 4 and 5
    assert found["different"] == {
        "objective.lambda": {"first": 1000.0, "second": 10.0},
        "evaluation.test_networks": {"first": 4, "second": 5},
    }
    estimators = {entry.component.name for entry in registry.all() if entry.kind == "entropy"}
    assert everything(runs) == before
    for name, row in zip(("first", "second"), found["runs"], strict=True):
        run = hf.load(runs / name, device="cpu")
        results = run.evaluate(4)
        assert (row["run"], row["folder"], row["task"], row["step"]) == (name, str(runs / name), "digits", 3)
        assert row["results"].items() <= results.items()
        assert {"accuracy", "nll", "ensemble"} <= set(row["results"])
        assert set(row["entropies"]) == estimators
        nets = run.sample(4)
        flat = flatten(nets.target.spec, run.experiment.gauge(nets.weights))
        estimator = choose(registry, "entropy", ESTIMATOR, "entropy").make()
        wanted = float(estimator(flat, run.experiment.generator.dimension))
        assert row["entropies"][ESTIMATOR] == pytest.approx(wanted, rel=1e-5)
        assert row["training_seconds"] > 0


def test_networks_seed_and_checkpoint_are_as_asked_for(runs, registry):
    pair = [runs / "first", runs / "second"]
    found = compare(pair, registry, 1, device="cpu")
    assert [row["results"]["networks"] for row in found["runs"]] == [1, 1]
    assert [row["entropies"][ESTIMATOR] for row in found["runs"]] == [None, None]
    other = compare(pair, registry, 4, seed=9, device="cpu")["runs"][0]
    assert other["results"].items() <= hf.load(pair[0], device="cpu").evaluate(4, seed=9).items()
    with pytest.raises(RunError, match="checkpoint"):
        compare(pair, registry, checkpoint="first", device="cpu")


class Shop:
    """A plugin with an estimator that fails."""

    @hookimpl
    def hyperframe_entropy_estimators(self):
        return [Component(name="failing", factory=lambda options: 1 / 0)]


def test_an_estimator_that_fails_costs_its_own_figure_only(runs):
    with pytest.warns(HyperframeWarning, match="entropy 'failing' is left out: PluginError: .*division by zero"):
        found = compare([runs / "first", runs / "second"], make_registry([Shop()]), 2, device="cpu")
    for row in found["runs"]:
        assert row["entropies"]["failing"] is None
        assert row["entropies"][ESTIMATOR] is not None


def test_keys_that_one_configuration_lacks_differ():
    one = {"gauges": [{"name": "scale"}, {"name": "sign"}], "generator": {"hidden": [4, 4], "rate": None}}
    other = {"gauges": [{"name": "scale"}], "generator": {"hidden": [4], "rate": None, "code": False}}
    third = {"gauges": [{"name": "scale"}], "generator": {"hidden": [4], "rate": None, "code": 0.5}}
    assert list(differences({"a": one, "b": other, "c": third}).items()) == [
        ("gauges.1.name", {"a": "sign"}),
        ("generator.hidden", {"a": [4, 4], "b": [4], "c": [4]}),
        ("generator.code", {"b": False, "c": 0.5}),
    ]
    assert differences({"a": one, "b": one}) == {}


@pytest.mark.parametrize(
    ("lines", "step", "seconds"),
    [
        ([(10, 5.0), (20, 2.0)], 20, 2 + 5),
        ([(10, 5.0), (20, 2.0)], 14, 2 + 2),  # a checkpoint between two lines
        ([(10, 5.0), (20, 2.0)], 50, 2 + 5),  # a pause after the last one
        ([(10, None), (20, 2.0)], 20, 10),
        ([(10, "fast"), (20, 0)], 20, None),
        ([], 20, None),
    ],
)
def test_training_seconds_are_steps_by_their_speed(tmp_path, lines, step, seconds):
    rows = [{"step": here, "steps_per_second": speed} for here, speed in lines]
    rows.insert(1, {"step": 10, "validation": {}})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training_seconds(tmp_path, step) == (seconds, None)


def test_cpu_seconds_are_steps_by_what_each_took(tmp_path):
    rows = [
        {"step": 10, "steps_per_second": 5.0, "cpu_seconds_per_step": 0.25},
        {"step": 20, "steps_per_second": 2.0, "cpu_seconds_per_step": 0.5},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training_seconds(tmp_path, 20) == (2 + 5, 2.5 + 5)
    assert training_seconds(tmp_path, 14) == (2 + 2, 2.5 + 2)


@pytest.mark.slow
def test_the_command(runs, hyperframe, tmp_path):
    code, out, err = hyperframe("compare", runs / "first", runs / "second", "-n", 3, "--device", "cpu")
    assert (code, err) == (0, "")
    for part in ("objective.lambda", "1000.0", "10.0", "3 networks of each", "accuracy of one network", " ± "):
        assert part in out
    for part in ("majority vote", "mean probability", "calibration", "disagreement", "training time", "entropy"):
        assert part in out
    assert "rmse" not in out
    assert "different tasks" not in out
    shutil.copytree(runs / "first", tmp_path / "first")
    code, out, _ = hyperframe("compare", runs / "first", "first", "-n", 1, "--device", "cpu")
    assert "the configurations are the same" in out
    assert "1 network of each on the test set" in out
    picture = tmp_path / "new" / "diversity.png"
    arguments = ["compare", runs / "first", "first", "-n", 2, "--device", "cpu", "--json", "--out", picture]
    code, out, err = hyperframe(*arguments)
    assert (code, err) == (0, "")
    assert [row["run"] for row in json.loads(out)["runs"]] == [str(runs / "first"), "first"]  # the paths, as given
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in picture.parent.iterdir()] == ["diversity.png"]


def test_runs_of_different_tasks(runs, hyperframe, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    arguments = ["compare", runs / "first", runs / "values", "--device", "cpu"]
    code, out, err = hyperframe(*arguments, "--out", "a.png")
    assert code == 0
    assert "these are different tasks (first digits, values diabetes): results are not of the same data" in out
    lines = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "│" in line]
    cells = {line[1]: line[2:4] for line in lines}
    assert cells["ensemble: disagreement of two networks"][1] == "–"
    assert cells["ensemble: expected calibration error ↓"][1] == "–"
    assert cells["rmse of one network ↓"][0] == cells["task.noise"][0] == "–"
    assert " ± " in cells["rmse of one network ↓"][1]
    assert "–" not in cells["ensemble: negative log-likelihood (nats) ↓"]
    assert "values is not in the picture: its task 'diabetes' has no such accuracy" in err


def test_a_regressions_picture_has_its_errors(runs, registry, tmp_path):
    content = compare([runs / "first", runs / "values"], registry, 2, device="cpu")
    content["runs"] = content["runs"][1:]
    write_picture(tmp_path / "a.png", content)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_with_dollars_is_no_formula(runs, registry, tmp_path):
    content = compare([runs / "first", runs / "second"], registry, 2, device="cpu")
    content["runs"][0]["run"] = r"$\wrong{$"
    write_picture(tmp_path / "a.png", content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'RUN RUN...'"),
        (["RUNS/first"], "only one run was named, RUNS/first; name two or more"),
        (["RUNS/first", "RUNS/second", "link"], "link and RUNS/first are the same run; name each one once"),
        (["RUNS/first", "."], ". is no run"),
        (["RUNS/first", "absent"], "absent does not exist"),
        (["RUNS/first", "lost"], "unknown target 'lost_net'"),
        (["RUNS/first", "typed"], "--target shop.nets:small for other commands"),
        (["RUNS/first", "RUNS/second", "--target", "none"], "'none'"),
        (["RUNS/first", "RUNS/held", "-n", "4"], "RUNS/held holds 3 networks, 4 were asked for; compare at most 3"),
        (["RUNS/first", "RUNS/second", "--checkpoint", "7"], "RUNS/first has no whole checkpoint of step 7"),
        (["RUNS/first", "RUNS/second", "--device", "gpu"], "auto, cpu, cuda or cuda:INDEX, but got 'gpu'"),
        (["RUNS/first", "RUNS/second", "--out", "there.png"], "there.png exists already"),
        (["RUNS/first", "RUNS/second", "--out", "a.svg"], "a.svg: the picture is written to a file that ends in .png"),
        (["RUNS/first", "RUNS/second", "--out", ""], "ends in .png"),
    ],
)
def test_mistakes(runs, hyperframe, tmp_path, arguments, message):
    (tmp_path / "RUNS").symlink_to(runs)
    (tmp_path / "link").symlink_to(runs / "first")
    (tmp_path / "there.png").write_text("mine")
    for name, target in (("lost", "lost_net"), ("typed", "shop.nets:small")):
        text = (runs / "first" / "config.yaml").read_text()
        shutil.copytree(runs / "first", tmp_path / name)
        (tmp_path / name / "config.yaml").write_text(text.replace("name: mlp\n  input", f"name: {target}\n  input"))
    before = everything(tmp_path) | everything(runs)
    code, out, err = hyperframe("compare", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert everything(tmp_path) | everything(runs) == before
