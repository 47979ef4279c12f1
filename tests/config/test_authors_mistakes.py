"""What an author of components got wrong is told with its name, before a run is written that nobody could read."""

import inspect

import attrs
import pytest
import torch
from wrong import (
    AGroupShort,
    Neighbours,
    NumberForMoments,
    OneTextOfClasses,
    Pictures,
    TensorAmongFacts,
    Term,
    Weights,
    registering,
)

import hyperframe as hf
from hyperframe.api import make_registry
from hyperframe.config.choices import choose
from hyperframe.errors import HyperframeError, PluginError
from hyperframe.tasks.checked import load_data
from hyperframe.types import Objective


@attrs.frozen(kw_only=True)
class BelowItsRange:
    x: int = hf.option(0, "a number", minimum=1)


@attrs.frozen(kw_only=True)
class NoPlainType:
    x: dict = hf.option({}, "a mapping")


@attrs.frozen(kw_only=True)
class OfNoTask:
    x: int = hf.option(10, "a number", of_task="outputs")


def chosen(options):
    component = hf.Component(name="mine", factory=lambda options: None, options=options)
    return choose(make_registry([registering("target", component)]), "target", "mine", "target")


@pytest.mark.parametrize(
    ("options", "message"),
    [(BelowItsRange, "a whole number, at least 1, but got 0"), (NoPlainType, "target.x: expected dict, but got {}")],
)
def test_defaults_that_a_run_could_not_be_read_with_are_refused(options, message):
    with pytest.raises(PluginError, match=f"target 'mine' of Wrong: an option has a default .*{message}"):
        chosen(options)


def test_an_option_of_what_tasks_do_not_have_is_named():
    with pytest.raises(PluginError, match="option 'x' is declared with of_task='outputs', which task 'pictures' does"):
        chosen(OfNoTask).fit(Pictures())


class FlatWeights(Weights):
    def forward(self, z):
        return self.mean + z


class FailsToDraw(Weights):
    def latent(self, count, rng):
        raise ArithmeticError("on purpose")


class NoPairs(Weights):
    def parameter_groups(self):
        return list(self.parameters())


class CostOfEach(Objective):
    def accuracy_weight(self, step, steps, examples):
        return 1.0

    def cost(self, weights):
        return next(iter(weights.values())).flatten(1).square().sum(1)


class CostsANumber(CostOfEach):
    def cost(self, weights):
        return 0.5


RowsForAScalar = Term({"flat"}, lambda inputs: inputs.flat.sum(1))


class FailingGauge(hf.types.Gauge):
    fixes = frozenset({"scaling"})

    def __call__(self, weights):
        raise ArithmeticError("on purpose")


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("generator", FlatWeights, "it must give a mapping of layers"),
        ("generator", FailsToDraw, "it draws no weights: Arithmetic"),
        ("generator", NoPairs, "parameter_groups must be a list of pairs"),
        ("generator", AGroupShort, "parameter_groups lack 'unused', which would never be trained"),
        ("gauge", lambda orbits: FailingGauge(), "gauges: one of them does not work"),
        ("objective", CostOfEach, r"cost must give a tensor without axes, or None, but gives \[8\]"),
        ("objective", CostsANumber, "cost must give a tensor without axes, or None, but gives float"),
        ("diversity", lambda: RowsForAScalar, r"must give a tensor without axes, but gives \[8\]"),
        ("task", OneTextOfClasses, "classes must be a sequence of texts, but is 'cat'"),
        ("task", NumberForMoments, "standardised_inputs must be a .*, but is 3"),
        ("task", TensorAmongFacts, "facts must be plain data that a JSON file gives"),
    ],
)
def test_what_fails_is_named_before_anything_is_written(tmp_path, kind, make, message):
    def factory(options, *given):
        return make(*given[: len(inspect.signature(make).parameters)])

    registry = make_registry([registering(kind, hf.Component(name="mine", factory=factory))])
    chosen = {"gauge": {"gauges": ["mine"]}, "diversity": {"diversity": ["mine"]}}.get(kind, {kind: "mine"})
    settings = {"target": "mlp", "trainer.device": "cpu", **chosen}
    with pytest.raises(HyperframeError, match=message):
        hf.train("digits", settings, registry=registry, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weights", [torch.ones(3), torch.linspace(-1, 1, 40)])
def test_weights_of_examples_that_are_none_are_refused(weights):
    task = Pictures()
    task.example_weights = weights
    with pytest.raises(HyperframeError, match="example_weights must be 40 finite numbers from 0 on"):
        load_data(task, "train")


class ATextForAList(Neighbours):
    def departures(self, entries, dimension):
        return "a constant is left out"


def test_a_text_for_a_list_of_departures_is_refused_before_its_letters_are_told(tmp_path):
    registry = make_registry(
        [registering("entropy", hf.Component(name="mine", factory=lambda options: ATextForAList()))]
    )
    settings = {"target": "mlp", "trainer.device": "cpu", "entropy": "mine", "objective": "vi", "gauges": []}
    with pytest.raises(PluginError, match="that it asks: departures must return a list of texts, but returns 'a const"):
        hf.train("digits", {**settings, "diversity": ["weight_entropy"]}, registry=registry, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
