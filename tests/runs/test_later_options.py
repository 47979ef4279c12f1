"""Runs that were trained before a component had one of its options."""

import attrs
import pytest
import torch
from tiny import PERCEPTRON

import hyperframe as hf
from hyperframe.config.registry import Registry, make_plugin_manager
from hyperframe.errors import RunError
from hyperframe.types import DiversityTerm


@attrs.frozen(kw_only=True)
class Options:
    factor: float = hf.option(1.0, "a later option, which stood at 3 before it was one", before=3.0)
    power: int = hf.option(2, "a later option of which nothing is known")


class Spread(DiversityTerm):
    needs = frozenset({"flat"})

    def __init__(self, options, estimator):
        self.options = options

    def __call__(self, inputs):
        return -self.options.factor * inputs.flat.var(0).mean()


class Plugin:
    @hf.hookimpl
    def hyperframe_diversity_terms(self):
        return [hf.Component(name="spread", factory=Spread, options=Options, summary="variance of the weights")]


@pytest.fixture(scope="module")
def registry():
    return Registry(make_plugin_manager(extra=[Plugin()]))


@pytest.fixture
def run(tmp_path, registry):
    settings = {**PERCEPTRON, "trainer.steps": 3, "diversity": [{"name": "spread", "factor": 3.0}]}
    return hf.train("digits_hypernetwork", settings, out=tmp_path / "run", registry=registry)


def drop(folder, line):
    """Take a line out of a run's configuration, as a version without the option had written it."""
    path = folder / "config.yaml"
    text = path.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, ""))


def test_a_run_from_before_an_option_has_what_the_option_says_it_had(run, registry):
    before = run.experiment.generator.state_dict()
    drop(run.folder, "  factor: 3.0\n")
    loaded = hf.load(run.folder, device="cpu", registry=registry)
    assert loaded.config.diversity[0].options == Options(factor=3.0, power=2)
    assert all(torch.equal(before[name], value) for name, value in loaded.experiment.generator.state_dict().items())


def test_it_goes_on_with_that_bit_for_bit(tmp_path, run, registry):
    settings = {**PERCEPTRON, "trainer.steps": 5, "trainer.stop_after": 2}
    settings["diversity"] = [{"name": "spread", "factor": 3.0}]
    ends = []
    for older in (False, True):
        paused = hf.train("digits_hypernetwork", settings, out=tmp_path / str(older), registry=registry)
        if older:
            drop(paused.folder, "  factor: 3.0\n")
        ends.append(hf.resume(paused.folder, registry=registry).experiment.generator.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_an_option_that_does_not_say_it_has_to_be_there(run, registry):
    drop(run.folder, "  power: 2\n")
    with pytest.raises(RunError, match=r"is not complete: 'diversity\.0\.power' is missing"):
        hf.load(run.folder, device="cpu", registry=registry)


def test_the_first_key_that_is_missing_and_has_no_such_value_is_named(run, registry):
    drop(run.folder, "  factor: 3.0\n")
    drop(run.folder, "  power: 2\n")
    with pytest.raises(RunError, match=r"'diversity\.0\.power' is missing"):
        hf.load(run.folder, device="cpu", registry=registry)


def test_runs_from_before_networks_of_one_norm_can_be_read(tmp_path):
    run = hf.train("digits_hypernetwork", {**PERCEPTRON, "trainer.steps": 1}, out=tmp_path / "run")
    drop(run.folder, "  unit_norm: false\n")
    assert hf.load(run.folder, device="cpu").config.diversity == run.config.diversity
