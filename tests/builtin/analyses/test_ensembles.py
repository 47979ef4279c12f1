"""Ensembles as they grow: by classes, by a task's own metrics, and what is concluded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.ensembles import conclusions
from hyperframe.builtin.analyses.ensembles.own_metrics import own_results
from hyperframe.metrics import Metric

FEW = settings(max_examples=25)
RMSE = Metric(name="rmse", label="rmse of the mean", unit="km", better="lower", of="ensemble", mean_of="rmse")


@FEW
@given(st.floats(-5, 5), st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_enough_is_the_first_size_with_nine_tenths_of_the_gain(single, values):
    sizes = list(range(1, len(values) + 1))
    found = conclusions.enough(single, sizes, values, "lower")
    gain = single - values[-1]
    if gain <= 0:
        assert found is None
    else:
        assert single - values[found - 1] >= 0.9 * gain
        assert all(single - value < 0.9 * gain for value in values[: found - 1])
    assert found == conclusions.enough(-single, sizes, [-value for value in values], "greater")


def classified(sizes=(1, 2, 10), nll=(0.5, 0.21, 0.2), accuracy=0.75):
    grown = [{"nll": {"mean": one}, "accuracy": {"mean": accuracy}} for one in nll]
    single = {"accuracy": {"mean": 0.7}, "nll": {"mean": 0.5}}
    return {"sizes": list(sizes), "single": single, "ensembles": {"mean_probability": grown}}


def test_the_gain_of_classifiers_is_told():
    first, second = conclusions.gain_of_classes(classified())
    assert first == "10 networks together gain 5.00 points of accuracy beside one of them (70.00 → 75.00 %)."
    assert second == (
        "Their negative log-likelihood is 0.2000 in the place of 0.5000 nats. 2 networks have nine tenths of the gain."
    )
    assert "together lose 10.00 points" in conclusions.gain_of_classes(classified(accuracy=0.6))[0]
    assert "together change nothing in accuracy" in conclusions.gain_of_classes(classified(accuracy=0.7))[0]
    assert conclusions.gain_of_classes(classified(nll=(0.5, 0.5, 0.6)))[1].endswith("nothing over one network by it.")
    assert conclusions.gain_of_classes(classified((1,), (0.5,))) == [conclusions.ALONE]


def test_the_gain_by_a_tasks_own_metric_is_told():
    values = [{"mean": value, "std": 0.0} for value in (4.0, 2.0, 2.0)]
    found = {"sizes": [1, 2, 5], "single": {"rmse": {"mean": 5.0}}, "growth": {"rmse": values}}
    assert conclusions.gain_of_metric(found, RMSE) == [
        "One network has 5 km, 5 together have 2 km (rmse of the mean).",
        "2 networks have nine tenths of the gain.",
    ]
    assert conclusions.gain_of_metric({**found, "single": {}}, RMSE)[0].startswith("One network has 4 km")
    assert conclusions.gain_of_metric({**found, "sizes": [1]}, RMSE) == [conclusions.ALONE]


@pytest.mark.parametrize(("values", "advised"), [((3.0, 2.9, 2.0), True), ((3.0, 2.0, 2.0), False), ((3, 4, 5), False)])
def test_more_networks_are_advised_where_the_last_ones_still_help(values, advised):
    advice = conclusions.more_networks(3.0, [1, 2, 40], values, "lower")
    assert ("draw more than 40 of them" in advice) is advised
    assert conclusions.more_networks(3.0, [1, 2, 40], values, "lower", 41) == advice
    held = conclusions.more_networks(3.0, [1, 2, 40], values, "lower", 40)
    assert ("holds no more than 40: train one that holds more" in held) is advised
    assert "draw more" not in held
    assert conclusions.more_networks(3.0, [1], [2.0], "lower") == ""


@pytest.mark.parametrize(("generator", "words"), [("hypernetwork", "generator=modes"), ("modes", "A lower objective")])
def test_networks_that_are_alike_are_told(generator, words):
    advice = conclusions.other_diversity(0.001, 0.02, generator)
    assert "two of them disagree on 0.10 % of the examples, while one is wrong on 2.00 %" in advice
    assert words in advice
    assert conclusions.other_diversity(0.01, 0.02, generator) == ""
    assert conclusions.other_diversity(0.0, 0.0, generator) == ""


@pytest.fixture(scope="module")
def valuing(tmp_path_factory):
    settings = {"trainer.steps": 20, "trainer.device": "cpu", "evaluation.test_networks": 5}
    return hf.train("diabetes", settings, out=tmp_path_factory.mktemp("runs") / "run")


def test_values_grow_by_the_metrics_of_the_task(valuing):
    found = analyse(valuing, "ensembles", make_registry(), {"draws": 1})
    assert found["sizes"] == [1, 2, 5]
    for place, size in enumerate(found["sizes"]):
        drawn = valuing.sample(5)[:size]
        meter = valuing.experiment.task.meter(size, len(valuing.data("test")), valuing.experiment.device)
        for first, example, outputs in drawn.chunks(valuing.data("test").x):
            meter.update(outputs, valuing.data("test").y[example : example + outputs.shape[1]], first, example)
        whole = meter.result()["ensemble"]
        for name in ("rmse", "r2", "nll"):
            assert found["growth"][name][place]["mean"] == pytest.approx(whole[name], rel=1e-6)
    assert set(found["growth"]) == {"rmse", "r2", "nll"}  # not the spread, which has no better direction
    assert found["single"]["rmse"]["mean"] == pytest.approx(valuing.evaluate()["rmse"]["mean"], rel=1e-6)
    assert found["metrics"] == []
    assert found["conclusions"][0]["question"] == "ensemble"
    assert len(found["pictures"]) == 3


@pytest.mark.parametrize("chunk", [(1, 9), (2, 66), (3, 7)])
def test_growth_does_not_depend_on_the_chunks(valuing, chunk):
    data, whole, parted = valuing.data("test"), valuing.sample(5), valuing.sample(5)
    parted._at_once = chunk
    found, other = (own_results(networks, [1, 2, 4], data) for networks in (whole, parted))
    for name, values in found["growth"].items():
        assert other["growth"][name] == pytest.approx(values, rel=1e-6)
    assert other["single"] == pytest.approx(found["single"], rel=1e-6)


def test_a_single_network_is_no_ensemble(run):
    found = analyse(run, "ensembles", make_registry(), {"draws": 1, "networks": 1})
    assert found["conclusions"][0]["sentence"] == conclusions.ALONE
