"""How many independently trained networks an ensemble is worth: the number, and the reference that is kept."""

import shutil
from unittest import mock

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.analysis.report import collect
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.deep_ensemble.baseline import IMAGES, deep_ensemble
from hyperframe.builtin.analyses.deep_ensemble.equivalent import deep_ensemble_equivalent
from hyperframe.builtin.objectives.trade_off import Options
from hyperframe.errors import HyperframeError, HyperframeWarning, RunError
from hyperframe.runs.loading import load_run
from hyperframe.training.trainer import Trainer

curves = st.lists(st.floats(0.001, 10), min_size=1, max_size=12)


@given(curves, st.floats(0.001, 10))
def test_a_better_ensemble_is_worth_more(reference, nll):
    one, other = (deep_ensemble_equivalent(value, reference) for value in (nll, nll / 2))
    assert 1 <= one.networks <= other.networks <= len(reference)


@given(curves)
def test_the_reference_is_worth_itself(reference):
    best = [min(reference[: size + 1]) for size in range(len(reference))]
    for size, nll in enumerate(best, 1):
        found = deep_ensemble_equivalent(nll, reference)
        assert found.networks == best.index(nll) + 1 <= size
        assert found.bound == ""


def test_known_values():
    reference = [0.5, 0.3, 0.4, 0.2]
    found = [deep_ensemble_equivalent(nll, reference) for nll in (0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.1)]
    assert [one.bound for one in found] == ["below", "", "", "", "", "", "above"]
    assert [one.networks for one in found] == pytest.approx([1, 1, 1.5, 2, 3.5, 4, 4])


QUICK = {"networks": 3, "steps": 6, "draws": 1, "examples": 30}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits", {**PERCEPTRON, "trainer.steps": 3}, out=tmp_path_factory.mktemp("runs") / "run")


class OwnGauge:
    """A plugin that is installed nowhere."""

    @hf.hookimpl
    def hyperframe_gauges(self):
        return [attrs.evolve(make_registry().get("gauge", "logit_bias").component, name="handed_over")]


@pytest.mark.slow
def test_a_run_keeps_the_registry_it_was_made_with(tmp_path, monkeypatch):
    registry = make_registry([OwnGauge()])
    settings = {**PERCEPTRON, "trainer.steps": 3, "gauges": ["scale", "handed_over"]}
    trained = hf.train("digits", settings, out=tmp_path / "run", registry=registry)
    options = {"deep_ensemble": {**QUICK, "reference": str(tmp_path / "reference")}}
    for run in (trained, trained, hf.load(trained.folder, registry=registry, device="cpu")):
        assert [choice.name for choice in run.config.gauges] == ["scale", "handed_over"]
        content = collect(run, registry, ["deep_ensemble"], options, again=True)
        assert (content["failed"], content["left_out"]) == ({}, {})
        monkeypatch.setattr(Trainer, "step", lambda self: pytest.fail("the reference is trained already"))
    with pytest.raises(HyperframeError, match="handed_over"):
        load_run(trained.folder, make_registry())


@pytest.mark.slow
def test_the_reference_is_trained_once_and_shared(run, tmp_path):
    place = tmp_path / "reference"
    found = analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert found["reference"]["sizes"] == [1, 2, 3]
    assert len(found["equivalents"]) == len(found["sizes"])
    reference = load_run(place, make_registry())
    assert reference.config.generator.name == "direct"
    written = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    other = hf.train("digits", {**PERCEPTRON, "trainer.steps": 3, "trainer.seed": 1}, out=tmp_path / "other")
    again = analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert again["reference"] == found["reference"]
    with pytest.warns(HyperframeWarning, match="3 networks, 6 steps, rate 0.01, and not 3, 7, 0.01"):
        analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place), "steps": 7})
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == written


def test_networks_of_the_reference_are_independent(run, tmp_path):
    """No term drives them apart or together, they begin at different weights, and see different images."""
    seen, pass_through = [], Trainer._drawn

    def noting(trainer, name, *sizes):
        data = pass_through(trainer, name, *sizes)
        seen.append(data.x)
        return data

    with mock.patch.object(Trainer, "_drawn", noting):
        reference = deep_ensemble(run, tmp_path / "reference", networks=4, steps=1, rate=1e-6)
    assert [(choice.name, choice.weight) for choice in reference.config.diversity] == [("none", 1.0)]
    assert reference.config.objective.options == Options()
    rows = hf.targets.flatten(reference.experiment.target.spec, reference.sample(4).weights)
    others = ~torch.eye(4, dtype=torch.bool)
    assert float(torch.corrcoef(rows)[others].abs().max()) < 0.2
    (images,) = seen
    assert images.shape[:2] == (4, IMAGES)
    assert not any(torch.equal(images[n], images[m]) for n in range(4) for m in range(n))


@pytest.mark.slow
def test_a_training_that_was_interrupted_goes_on(run, monkeypatch, tmp_path):
    step, place = Trainer.step, tmp_path / "reference"

    def breaking(trainer):
        if trainer.step_count == 4:
            monkeypatch.setattr(Trainer, "step", step)
            raise KeyboardInterrupt
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", breaking)
    with pytest.raises(KeyboardInterrupt):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert load_run(place, make_registry()).step == 4
    assert analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})["reference"]["steps"] == 6


@pytest.mark.slow
def test_a_reference_of_something_else_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="must be 'direct'"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(run.folder)})
    place = tmp_path / "reference"
    other = hf.train("digits", {**PERCEPTRON, "target.hidden": [5], "trainer.steps": 2}, out=tmp_path / "other")
    analyse(other, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    with pytest.raises(RunError, match="of another target"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})


@pytest.mark.slow
def test_a_reference_that_was_trained_with_other_options_is_refused(run):
    analyse(run, "deep_ensemble", make_registry(), QUICK)
    with pytest.raises(RunError, match=r"networks=3, steps=6, rate=0.01 and not with networks=2, steps=6, rate=0.5"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "networks": 2, "rate": 0.5})
    place = str(run.folder / "analyses" / "deep_ensemble" / "reference")
    with pytest.warns(HyperframeWarning, match="is taken as it is: 3 networks"):
        found = analyse(run, "deep_ensemble", make_registry(), {**QUICK, "networks": 2, "reference": place})
    assert found["reference"]["networks"] == 3


@pytest.mark.slow
def test_a_module_that_was_handed_over(tmp_path):
    from torch import nn

    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))
    settings = {key: value for key, value in PERCEPTRON.items() if not key.startswith("target")}
    run = hf.train("digits", {**settings, "trainer.steps": 2}, module=module, out=tmp_path / "run")
    for _ in range(2):  # the second time the reference is read
        assert analyse(run, "deep_ensemble", make_registry(), QUICK)["reference"]["networks"] == 3


def test_a_run_that_was_only_begun_is_no_reference(run, tmp_path):
    """It is refused, and its training is not finished."""
    place = tmp_path / "begun"
    shutil.copytree(run.folder, place)
    shutil.rmtree(place / "checkpoints")
    with pytest.raises(RunError, match="it must be 'direct'"):
        analyse(run, "deep_ensemble", make_registry(), {**QUICK, "reference": str(place)})
    assert not (place / "checkpoints").exists()
