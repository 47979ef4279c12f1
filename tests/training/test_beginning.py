"""Where a training begins: at another run's generator, which was trained on another task."""

import shutil

import pytest
import torch
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, HyperframeError
from hyperframe.experiment.build import build_experiment
from hyperframe.training.beginning import begin
from hyperframe.training.resume import resume_run

SHORT = {**PERCEPTRON, "trainer.steps": 3, "trainer.device": "cpu", "evaluation.every": 10}


@pytest.fixture(scope="module")
def first(tmp_path_factory, registry):
    return hf.train("digits", SHORT, out=tmp_path_factory.mktemp("first") / "run", registry=registry)


def state_of(run):
    return {name: value.clone() for name, value in run.experiment.generator.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Beginning:
    """A reporter that keeps what a generator begins with."""

    def started(self, run):
        self.state = state_of(run)

    def logged(self, step, metrics):
        pass

    def validated(self, step, results):
        pass

    def paused(self, run, reason):
        pass


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
