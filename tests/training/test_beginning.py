"""Where a training begins: at another run's generator, which was trained on another task."""

import json
import shutil

import pytest
import torch
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, HyperframeError
from hyperframe.experiment.build import build_experiment
from hyperframe.training.beginning import begin
from hyperframe.training.reporter import Reporter
from hyperframe.training.resume import resume_run

SHORT = {**PERCEPTRON, "trainer.steps": 3, "trainer.device": "cpu", "evaluation.every": 10}


@pytest.fixture(scope="module")
def first(tmp_path_factory, registry):
    return hf.train("digits", SHORT, out=tmp_path_factory.mktemp("first") / "run", registry=registry)


def state_of(run):
    return {name: value.clone() for name, value in run.experiment.generator.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Beginning(Reporter):
    """A reporter that keeps what a generator begins with."""

    def started(self, run):
        self.state = state_of(run)


def test_a_run_begins_with_the_parameters_that_the_other_ended_with(first, registry, tmp_path):
    """Also on other data, and with other moments of the optimiser: none."""
    heard, plain = Beginning(), Beginning()
    settings = {**SHORT, "task.split_seed": 5, "trainer.seed": 1}
    run = hf.train(
        "digits", {**settings, "trainer.from": str(first.folder)}, out=tmp_path / "a", registry=registry, reporter=heard
    )
    assert same(heard.state, state_of(first))
    assert not same(state_of(run), heard.state)
    hf.train("digits", settings, out=tmp_path / "b", registry=registry, reporter=plain)
    assert not same(plain.state, heard.state)


def test_the_path_is_kept_absolute_and_not_read_again(first, registry, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere"
    shutil.copytree(first.folder, moved)
    monkeypatch.chdir(tmp_path)
    run = hf.train("digits", {**SHORT, "trainer.from": "elsewhere", "trainer.stop_after": 1}, out="run")
    assert run.config.trainer.from_ == str(moved)
    shutil.rmtree(moved)
    resumed = resume_run(run.folder, {}, registry)
    assert resumed.finished
    assert hf.load(run.folder, device="cpu").step == 3


@pytest.mark.filterwarnings("ignore:.*has no checkpoint yet")
def test_a_run_that_starts_anew_begins_there_again(first, registry, tmp_path):
    """It was stopped before its first checkpoint."""
    settings = {**SHORT, "trainer.from": str(first.folder)}
    run = hf.train("digits", settings, out=tmp_path / "run", registry=registry)
    ended = state_of(run)
    shutil.rmtree(run.folder / "checkpoints")
    heard = Beginning()
    again = resume_run(run.folder, {}, registry, heard)
    assert same(heard.state, state_of(first))
    assert same(state_of(again), ended)


@pytest.mark.parametrize(
    "generator",
    [
        {"name": "sgd_chain", "chains": 4, "states": 2},
        {"name": "modes", "modes": 4, "around": "moments", "deviations": 2},
    ],
    ids=["states of chains", "moments"],
)
def test_what_the_other_run_collected_is_forgotten(generator, registry, tmp_path):
    """Before its own first collection, a run that begins there evaluates the networks that it trains."""
    settings = {**SHORT, "generator": generator, "diversity": "none", "trainer.steps": 8, "evaluation.networks": 4}
    settings = {key: value for key, value in settings.items() if not key.startswith("generator.")}
    other = hf.train("digits", settings, out=tmp_path / "other", registry=registry)
    paused = {**settings, "trainer.from": str(other.folder), "trainer.stop_after": 1}
    run = hf.train("digits", paused, out=tmp_path / "run", registry=registry)
    state = state_of(run)
    collected = state.get("collected", state.get("around.begun"))
    assert float(collected) == 0
    points = [run.experiment.generator.forward(torch.arange(4))] if "collected" in state else []
    for weights in points:
        parameters = torch.cat([value.flatten(1) for value in weights.values()], 1)
        assert torch.equal(parameters, run.experiment.generator.points)
    assert len(run.sample(4)) == 4


def test_where_a_run_began_cannot_be_changed_and_is_in_its_provenance(first, registry, tmp_path):
    settings = {**SHORT, "trainer.from": str(first.folder), "trainer.stop_after": 1}
    run = hf.train("digits", settings, out=tmp_path / "run", registry=registry)
    began = json.loads((run.folder / "provenance.json").read_text())["began_with"]
    assert began == {"run": str(first.folder), "step": 3}
    with pytest.raises(ConfigError, match=r"^trainer.from: the run began before its step 1, with .*first0/run"):
        resume_run(run.folder, {"trainer.from": str(run.folder)}, registry)
    plain = hf.train("digits", {**SHORT, "trainer.stop_after": 1}, out=tmp_path / "plain", registry=registry)
    with pytest.raises(ConfigError, match="with first parameters"):
        resume_run(plain.folder, {"trainer.from": str(first.folder)}, registry)
    assert "began_with" not in json.loads((plain.folder / "provenance.json").read_text())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator.hidden": [9]}, "was trained with another generator"),
        ({"target.activation": "tanh"}, "was trained with another target"),
    ],
)
def test_another_target_or_generator_is_refused_before_anything_is_written(
    first, registry, tmp_path, settings, message
):
    with pytest.raises(ConfigError, match=rf"^trainer.from: .*{message}"):
        hf.train("digits", {**SHORT, **settings, "trainer.from": str(first.folder)}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_no_run_is_refused(registry, tmp_path):
    config = load_config("digits", {**SHORT, "trainer.from": str(tmp_path)}, registry)
    with pytest.raises(HyperframeError, match=r"^trainer.from: .*is no run"):
        begin(build_experiment(config))
