"""The analysis of networks whose smallest weights are zero."""

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from modules import Residual
from tiny import GENERATED, PERCEPTRON

import hyperframe as hf
import hyperframe.builtin.analyses.pruning as module
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.pruning import FRACTIONS, accuracies_of, greatest_within, prune
from hyperframe.errors import HyperframeWarning, NotApplicableError
from hyperframe.experiment.evaluation import evaluate
from hyperframe.targets import LayerSpec, TargetSpec, bias, kernel, scale, shift

SETTINGS = {**PERCEPTRON, "trainer.steps": 30, "trainer.rate": 1e-2, "evaluation.test_networks": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return hf.train("digits_hypernetwork", SETTINGS, out=tmp_path_factory.mktemp("runs") / "run")


def run_analysis(run, **options):
    return analyse(run, "pruning", make_registry(), options)


def spec():
    """Two layers of different sizes, and a normalisation without a kernel."""
    first = [kernel("0.weight", "o i", shape=(3, 4)), bias("0.bias", shape=(3,))]
    norm = [scale("1.weight", shape=(3,)), shift("1.bias", shape=(3,))]
    last = [kernel("2.weight", "o i", shape=(2, 3)), bias("2.bias", shape=(2,))]
    layers = [
        LayerSpec(name="first", filters=3, params=first),
        LayerSpec(name="norm", filters=3, params=norm),
        LayerSpec(name="last", filters=2, params=last),
    ]
    return TargetSpec(name="few", input_shape=(4,), num_outputs=2, layers=layers)


def weights_of(seed, networks=3):
    rng = torch.Generator().manual_seed(seed)
    return {
        layer.name: torch.randn(networks, layer.filters, layer.filter_size, generator=rng, dtype=torch.float64)
        for layer in spec().layers
    }


@given(seed=st.integers(0, 99), fraction=st.sampled_from(FRACTIONS))
def test_the_smallest_kernel_weights_of_each_network_become_zero(seed, fraction):
    weights = weights_of(seed)
    before = {name: values.clone() for name, values in weights.items()}
    pruned = prune(spec(), weights, fraction)
    assert all(torch.equal(weights[name], before[name]) for name in weights)  # which are left as they are
    for network in range(3):
        old, new = (
            torch.cat([theta["first"][network, :, :4].flatten(), theta["last"][network, :, :3].flatten()])
            for theta in (weights, pruned)
        )
        gone = new == 0
        assert int(gone.sum()) == round(18 * fraction)
        assert torch.equal(new[~gone], old[~gone])
        if gone.any():
            assert float(old[gone].abs().max()) < float(old[~gone].abs().min())
    for layer, columns in (("first", slice(4, 5)), ("norm", slice(0, 2)), ("last", slice(3, 4))):
        assert torch.equal(pruned[layer][..., columns], weights[layer][..., columns])


def test_of_equal_weights_as_many_become_zero_as_of_others():
    weights = {name: torch.ones_like(values) for name, values in weights_of(0).items()}
    pruned = prune(spec(), weights, 0.5)
    assert [int((values == 0).sum()) for values in pruned.values()] == [3 * 9, 0, 0]


def test_layers_that_are_drawn_are_not_pruned():
    weights = weights_of(1)
    pruned = prune(attrs.evolve(spec(), drawn=("last",)), weights, 0.5)
    assert torch.equal(pruned["last"], weights["last"])
    assert int((pruned["first"] == 0).sum()) == 3 * 6


@pytest.mark.slow
def test_no_zeros_give_what_the_evaluation_gives(run):
    found, results = run_analysis(run, networks=7), run.evaluate()
    assert found["networks"] == 7
    assert found["examples"] == results["examples"]
    assert found["kernel_weights"] == 6 * (64 + 10)
    assert found["zeros"] == [round(6 * 74 * fraction) for fraction in FRACTIONS]
    assert found["single"][0] == pytest.approx(results["accuracy"], abs=1e-6)
    assert found["ensemble"][0] == pytest.approx(results["ensemble"]["mean_probability"], abs=1e-6)
    assert found["ensemble"][-1] < found["ensemble"][0]
    files = {path.name for path in (run.folder / "analyses" / "pruning").iterdir()}
    assert files == {"pruning.png", "results.json"}


def test_weights_are_pruned_in_gauge(run):
    found = run_analysis(run, networks=3, examples=50)
    networks = run.sample(3, gauge=True)
    data = module.some_examples(run.data("test"), 50, run.config.evaluation.seed)
    pruned = run.networks_of(prune(run.experiment.target.spec, networks.weights, 0.8))
    results = evaluate(run.experiment, pruned, data)
    at = FRACTIONS.index(0.8)
    assert found["single"][at] == pytest.approx(results["accuracy"])
    assert found["ensemble"][at] == pytest.approx(results["ensemble"]["mean_probability"])


@pytest.mark.slow
def test_statistics_are_those_of_the_pruned_networks(tmp_path):
    run = hf.train("digits_hypernetwork", {**GENERATED, "trainer.steps": 2}, module=Residual(4), out=tmp_path / "run")
    found = run_analysis(run, networks=2)
    weights = run.sample(2, gauge=True).weights
    pruned = run.networks_of(prune(run.experiment.target.spec, weights, 0.9))
    assert found["single"][FRACTIONS.index(0.9)] == accuracies_of(run, pruned, run.data("test"))["single"]
    pruned.statistics = run.sample(2, gauge=True).statistics
    assert found["single"][FRACTIONS.index(0.9)] != accuracies_of(run, pruned, run.data("test"))["single"]


@pytest.mark.parametrize(
    ("loss", "fraction"),
    [
        ([0.0] * 11, 0.95),
        ([0, 0.01, *[0.011] * 9], 0.1),
        ([0, 0.02, 0.005, *[0.1] * 8], 0.2),
        ([0, *[0.5] * 10], 0.0),
    ],
)
def test_the_greatest_fraction_within_a_point(loss, fraction):
    assert greatest_within([0.97 - one for one in loss], 0.01) == fraction


def test_a_regression_is_refused(tmp_path):
    run = hf.train("diabetes", {"trainer.steps": 2, "trainer.device": "cpu"}, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'pruning' does not apply"):
        run_analysis(run)


def test_a_target_whose_kernels_are_not_trained_is_refused(tmp_path):
    frozen = torch.nn.Linear(64, 10).requires_grad_(False)
    module_ = torch.nn.Sequential(torch.nn.Flatten(), frozen, torch.nn.BatchNorm1d(10))
    run = hf.train("digits", {**GENERATED, "trainer.steps": 2}, module=module_, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match=r"analysis 'pruning' does not apply: target .* trains no kernel"):
        run_analysis(run)


def test_it_goes_on_after_an_interruption(run, monkeypatch):
    options = {"networks": 2, "examples": 30}
    whole, calls = run_analysis(run, **options), []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return accuracies_of(*arguments)

    monkeypatch.setattr(module, "accuracies_of", interrupted)
    with pytest.warns(HyperframeWarning, match="goes on from there"), pytest.raises(KeyboardInterrupt):
        analyse(run, "pruning", make_registry(), options, again=True)
    assert run_analysis(run, **options) == whole
    assert len(calls) == len(FRACTIONS) + 1
