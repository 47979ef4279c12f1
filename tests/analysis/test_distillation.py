"""One network in the place of an ensemble: means of weights, students, the command `distill`, and the analysis."""

import json

import attrs
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import GENERATED, PERCEPTRON
from torch import nn

import hyperframe as hf
from hyperframe.analysis.distillation.averaging import average, running_mean
from hyperframe.analysis.distillation.distill import distill
from hyperframe.analysis.distillation.student import (
    DistillationOptions,
    Lesson,
    distillation_loss,
    ensemble_outputs,
    fresh_network,
    lesson_inputs,
    taught_network,
    teach,
)
from hyperframe.analysis.runner import analyse
from hyperframe.builtin.analyses import distillation as analysis
from hyperframe.cli import tables
from hyperframe.errors import HyperframeWarning, RunError, TrainingError
from hyperframe.experiment.evaluation import measure
from hyperframe.targets.weights import flatten, slice_weights
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.tasks.regression import RegressionTask
from hyperframe.types import Data

TINY = {**PERCEPTRON, "trainer.steps": 3}
VALUES = {
    **GENERATED,
    "task": "diabetes",
    "target": {"name": "mlp", "input_shape": [10], "hidden": [4], "outputs": 1},
    "trainer.steps": 2,
}
HELD = {"generator": "direct", "generator.networks": 3, "trainer.networks": 3, "diversity": ["none"], "gauges": []}
SHORT = DistillationOptions(networks=3, examples=50, steps=4, batch=16)
OPTIONS = {key: value for key, value in attrs.asdict(SHORT).items() if key not in ("mixed", "rate")}


def normed():
    layers = nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 10)
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of classes, of values, of three networks that are held, of a module with BatchNorm, and of the toy."""
    parent = tmp_path_factory.mktemp("runs")
    general = {key: value for key, value in TINY.items() if not key.startswith(("generator", "target"))}
    generated = {key: value for key, value in GENERATED.items() if key.startswith("generator")}
    target = {"target": "mlp", "target.hidden": [6]}
    toy = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.test_networks": 3, "evaluation.networks": 2}
    return {
        "classes": hf.train("digits", TINY, out=parent / "classes"),
        "values": hf.train("digits", VALUES, out=parent / "values"),
        "held": hf.train("digits", {**general, **target, **HELD}, out=parent / "held"),
        "normed": hf.train("digits", {**general, **generated}, module=normed(), out=parent / "normed"),
        "toy": hf.train("toy", toy, out=parent / "toy"),
    }


@pytest.fixture(scope="module")
def run(runs):
    return runs["classes"]


@given(count=st.integers(1, 12), at_once=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_the_running_mean_is_the_mean(count, at_once, seed):
    rng = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(count, 3, 2, generator=rng, dtype=torch.float64) for name in ("one", "other")}
    parts = [slice_weights(weights, slice(first, first + at_once)) for first in range(0, count, at_once)]
    for name, mean in running_mean(iter(parts)).items():
        torch.testing.assert_close(mean, weights[name].mean(0, keepdim=True), rtol=1e-12, atol=1e-12)


@given(count=st.integers(1, 9), seed=st.integers(0, 2**31))
def test_the_mean_of_equal_networks_is_the_network(count, seed):
    one = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(seed))
    mean = running_mean([{"fc": one.expand(count, 3, 2)}, {"fc": one}])
    assert mean["fc"].dtype == torch.float32
    assert torch.equal(mean["fc"], one)


def test_there_is_no_mean_of_no_networks():
    with pytest.raises(ValueError, match="no networks"):
        running_mean([])


@pytest.mark.slow
@pytest.mark.parametrize("gauge", [False, True])
def test_an_average_is_that_of_the_drawn_networks(run, gauge):
    spec, drawn = run.experiment.target.spec, run.sample(70, 3, gauge=gauge)  # drawn in two parts
    found = flatten(spec, average(run, 70, 3, gauge=gauge).weights)
    torch.testing.assert_close(found, flatten(spec, drawn.weights).mean(0, keepdim=True), rtol=1e-5, atol=1e-6)


def test_with_scale_zero_it_is_the_network_of_z_zero(run):
    spec, generator = run.experiment.target.spec, run.experiment.generator
    with torch.no_grad():
        wanted = generator(torch.zeros(1, run.config.generator.options.latent))
    torch.testing.assert_close(flatten(spec, average(run, 5, scale=0.0).weights), flatten(spec, wanted))


def test_the_ensembles_outputs_are_those_of_all_networks(run):
    x, networks = run.data("test").x[:300], run.sample(5)
    alone = torch.stack([networks[number](x) for number in range(5)]).detach()
    found = ensemble_outputs(networks, x)
    torch.testing.assert_close(found, run.experiment.task.averaged(alone))
    torch.testing.assert_close(found.softmax(-1), networks.mean(x))


@given(seed=st.integers(0, 2**31), shift=st.floats(-5, 5))
def test_the_loss_is_the_divergence_of_classes_and_the_squared_error_of_values(seed, shift):
    rng = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 7, 4, generator=rng, dtype=torch.float64)
    p, q = other.softmax(-1), one.softmax(-1)
    found = distillation_loss(ClassificationTask(), one + shift, other)
    torch.testing.assert_close(found, (p * (p / q).log()).sum(-1).mean())
    assert float(distillation_loss(ClassificationTask(), one + shift, one)) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(distillation_loss(RegressionTask(), one, other), (one - other).square().mean())


@given(
    examples=st.integers(1, 40),
    mixed=st.sampled_from([0.0, 0.3, 1.0]),
    train=st.integers(1, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=50)
def test_lessons_have_training_inputs_and_mixtures(examples, mixed, train, seed):
    x = torch.arange(train, dtype=torch.float64)[:, None, None].expand(train, 2, 1)
    options = DistillationOptions(examples=examples, mixed=mixed)
    data = Data(x, torch.zeros(train, dtype=torch.int64))
    found = lesson_inputs(ClassificationTask(), data, options, torch.Generator().manual_seed(seed))
    assert tuple(found.shape[1:]) == (2, 1)
    assert len(found) == (min(examples, 4 * train) if mixed else min(examples, train))
    assert torch.equal(found[:, 0], found[:, 1])  # one factor for the whole input
    assert float(found.min()) >= 0
    assert float(found.max()) <= train - 1
    if not mixed:
        assert len(found.unique()) == len(found)  # none of them twice


def test_a_task_that_varies_its_inputs_varies_the_mixtures():
    class Doubling(ClassificationTask):
        def augment(self, inputs, rng):
            return 2 * inputs

    class Moving(ClassificationTask):
        def augment_data(self, data, rng):
            return Data(2 * data.x, data.y)

    data = Data(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
    for task in (Doubling(), Moving()):
        found = lesson_inputs(task, data, DistillationOptions(examples=8), torch.Generator())
        assert found[:, 0].tolist() == [1.0] * 4 + [2.0] * 4


def test_a_student_that_starts_as_its_teacher_does_not_change(run):
    start = run.sample(1)
    x = run.data("train").x[:100]
    lesson = Lesson(x, ensemble_outputs(start, x))
    student = teach(run, start, lesson, attrs.evolve(SHORT, steps=30, rate=1e-3), 0)
    outputs = next(student.chunks(x))[2][0]
    assert float(distillation_loss(run.experiment.task, outputs, lesson.outputs)) < 1e-4
    assert torch.equal(flatten(student.target.spec, start.weights), flatten(student.target.spec, run.sample(1).weights))


@pytest.mark.parametrize("name", ["classes", "values", "normed"])
def test_a_student_comes_nearer_to_its_ensemble(runs, name):
    run = runs[name]
    x = run.data("test").x
    wanted, options = ensemble_outputs(run.sample(3), x), attrs.evolve(SHORT, examples=300, steps=60)

    def distance(networks):
        return float(distillation_loss(run.experiment.task, next(networks.chunks(x[:250]))[2][0], wanted[:250]))

    student = taught_network(run, options)
    assert len(student) == 1
    assert distance(student) < 0.5 * distance(fresh_network(run, run.config.evaluation.seed))
    again = taught_network(run, options)
    assert all(torch.equal(value, again.weights[layer]) for layer, value in student.weights.items())


def test_a_student_that_diverges_is_refused(run):
    x = run.data("train").x[:20]
    with pytest.raises(TrainingError, match="lower rate"):
        teach(run, run.sample(1), Lesson(x, torch.full((20, 10), torch.nan)), SHORT, 0)


@pytest.mark.parametrize("method", ["predictions", "average", "average-gauged"])
def test_the_written_file_loads_into_the_module(runs, method, tmp_path):
    run, file = runs["normed"], tmp_path / "one.safetensors"
    found = distill(run, file, method, SHORT)
    module = normed()
    module.load_state_dict(safetensors.torch.load_file(file))
    test = run.data("test")
    right = (module.eval()(test.x).argmax(-1) == test.y).double().mean()
    assert found["results"]["written network"]["score"] == pytest.approx(float(right))
    drawn = measure(run.experiment, run.sample(3), test)
    assert found["results"]["mean member"]["score"] == drawn["accuracy"]["mean"]
    assert found["results"]["ensemble"]["metrics"]["nll"] == drawn["ensemble"]["nll"]
    with safetensors.safe_open(file, "pt") as opened:
        header = json.loads(opened.metadata()["hyperframe"])
    assert header["format"] == "hyperframe network 1"
    assert (header["method"], header["networks"], header["step"]) == (method, "3", "3")


@pytest.mark.slow
def test_the_command(runs, hyperframe, tmp_path):
    folder = runs["classes"].folder
    code, out, err = hyperframe("distill", folder, "--out", "one.safetensors", "-n", "3", "--steps", "2")
    assert (code, err) == (0, "")
    assert all(words in out for words in ("mean member", "ensemble", "written network", "one.safetensors"))
    assert "negative log-likelihood (nats) ↓" in out
    code, out, _ = hyperframe("distill", runs["values"].folder, "--out", "v.safetensors", "-n", "3", "--steps", "2")
    assert code == 0
    assert "rmse ↓" in out
    code, out, _ = hyperframe(
        *("distill", folder, "--out", "two.safetensors", "-n", "3", "--method", "average", "--scale", "0.5", "--json")
    )
    content = json.loads(out)
    assert (code, content["scale"], content["networks"]) == (0, 0.5, 3)
    code, out, _ = hyperframe("distill", runs["values"].folder, "--out", "3.safetensors", "-n", "3", "--steps", "2")
    assert code == 0
    assert "rmse" in out


def test_every_metric_with_a_deviation_shows_it(capsys):
    metrics = [
        hf.Metric(name="digit.accuracy", label="digit: accuracy", better="greater", percent=True, head="digit"),
        hf.Metric(name="size.rmse", label="size: rmse", unit="km", better="lower", head="size"),
        hf.Metric(name="loss", label="loss", better="lower"),
    ]
    values = {"digit.accuracy": 0.5, "size.rmse": 2.5, "loss": 1.25}
    results = {
        "mean member": {"metrics": values, "deviations": {"digit.accuracy": 0.01, "size.rmse": 0.5}},
        "ensemble": {"metrics": {**values, "loss": None}, "deviations": {}},
    }
    plain = [metric.plain() for metric in metrics]
    tables.print_distillation({"networks": 2, "method": "average", "examples": 5, "metrics": plain, "results": results})
    out = capsys.readouterr().out
    for cells in (["50.00 ± 1.00 %", "2.5 ± 0.5", "1.25"], ["50.00 %", "2.5", tables.MISSING]):
        assert any(all(f" {cell} " in line for cell in cells) for line in out.splitlines()), out


@pytest.mark.slow
def test_wrong_arguments(runs, hyperframe, tmp_path):
    (tmp_path / "taken.safetensors").write_bytes(b"")
    classes, held = runs["classes"].folder, runs["held"].folder
    for folder, arguments, message in [
        (classes, ["--out", "taken.safetensors"], "exists already"),
        (classes, ["--out", "one.pt"], "ends in .safetensors"),
        (classes, ["--out", "one.safetensors", "-n", "0"], "-n"),
        (classes, ["--out", "one.safetensors", "--method", "mean"], "predictions"),
        (classes, ["--out", "one.safetensors", "--scale", "0.5"], "for averages"),
        (classes, ["--out", "taken.safetensors/one.safetensors"], "is no folder"),
        (classes, ["--out", "one.safetensors", "--scale", "nan", "--method", "average"], "and not nan"),
        (classes, ["--out", "one.safetensors", "--scale", "inf", "--method", "average"], "and not inf"),
        (classes, ["--out", "one.safetensors", "-n", "9" * 15, "--method", "average"], "networks at once are too many"),
        (held, ["--out", "one.safetensors", "--scale", "0.5", "--method", "average"], "no vector z"),
        (classes, [], "--out"),
        (tmp_path / "nowhere", ["--out", "one.safetensors"], "nowhere"),
    ]:
        code, out, err = hyperframe("distill", folder, *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert "Traceback" not in err
    assert not (tmp_path / "one.safetensors").exists()
    with pytest.raises(RunError, match="did you mean 'average'"):
        distill(runs["classes"], tmp_path / "one.safetensors", "averge")


def test_the_analysis(runs, registry):
    run = runs["classes"]
    found = analyse(run, "distillation", registry, OPTIONS)
    results = found["results"]
    assert list(results)[:3] == ["mean member", "ensemble", "distilled network"]
    assert len(results) == 3 + 2 * 3  # averages for three scales, as generated and in gauge
    drawn = measure(run.experiment, run.sample(3), run.data("test"))
    assert results["mean member"]["deviations"] == {"accuracy": drawn["accuracy"]["std"]}
    assert results["ensemble"]["score"] == drawn["ensemble"]["mean_probability"]
    assert "skipped" not in found
    wanted = f"{100 * drawn['accuracy']['mean']:.2f} ± {100 * drawn['accuracy']['std']:.2f} %"
    assert found["highlights"]["accuracy, mean member"] == wanted
    assert f"{wanted} of the mean member" in found["pictures"][0]["caption"]
    assert (run.folder / "analyses" / "distillation" / "distillation.png").stat().st_size > 1000
    assert analyse(run, "distillation", registry, OPTIONS) == found


def test_the_analysis_of_values_of_held_networks_and_of_the_toy(runs, registry):
    values = analyse(runs["values"], "distillation", registry, OPTIONS)
    assert values["metric"]["name"] == "rmse"
    assert f"{values['results']['distilled network']['score']:.4g}" in values["pictures"][0]["caption"]
    drawn = measure(runs["values"].experiment, runs["values"].sample(3), runs["values"].data("test"))
    wanted = f"{drawn['rmse']['mean']:.4g} ± {drawn['rmse']['std']:.4g}"
    assert values["highlights"]["rmse, mean member"] == wanted
    held = analyse(runs["held"], "distillation", registry, {**OPTIONS, "networks": 50})
    assert held["networks"] == 3
    assert list(held["results"])[3:] == ["average, z × 1"]  # the run has no gauges
    assert "averages for other scales of z" in held["skipped"]
    toy = analyse(runs["toy"], "distillation", registry, OPTIONS)
    assert toy["metric"]["name"] == "value"
    assert toy["results"]["ensemble"]["score"] is None


def test_the_analysis_without_averages(runs, registry):
    found = analyse(runs["held"], "distillation", registry, {"networks": 2, "examples": 9, "steps": 2, "scales": [0.5]})
    assert list(found["results"]) == ["mean member", "ensemble", "distilled network"]
    assert len(found["highlights"]) == 3


def test_an_interrupted_analysis_goes_on(runs, registry, monkeypatch):
    run, told = runs["classes"], []

    def breaking(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(analysis, "average", breaking)
        with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
            analyse(run, "distillation", registry, {**OPTIONS, "steps": 5})
    with monkeypatch.context() as patched:  # the student is not taught again
        patched.setattr(analysis, "taught_network", lambda *arguments: told.append(arguments))
        found = analyse(run, "distillation", registry, {**OPTIONS, "steps": 5})
    assert told == []
    assert found == analyse(run, "distillation", registry, {**OPTIONS, "steps": 5})
