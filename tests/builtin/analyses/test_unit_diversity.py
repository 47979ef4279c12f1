"""The analysis `unit_diversity`: spread of filters, and strength with which their units are read."""

import math

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.analysis.runner import analyse
from hyperframe.api import make_registry
from hyperframe.builtin.analyses.unit_diversity.units import layer_units
from hyperframe.errors import NotApplicableError
from hyperframe.networks.target import Target
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.testing import strategies
from hyperframe.testing.examples import EXAMPLES, random_weights


def case(name):
    target = Target(*EXAMPLES[name]()).to("cpu", torch.float64)
    return orbits(target.structure, shift_invariant=True), target.spec


@pytest.mark.parametrize("name", ["dense", "residual", "depthwise", "table", "unbiased"])
@settings(max_examples=4)
@given(data=st.data())
def test_strengths_have_the_mean_one(name, data):
    target = data.draw(strategies.targets(name))
    weights = random_weights(target.spec, 3, 0)
    for units in layer_units(orbits(target.structure, shift_invariant=True), weights):
        assert units.deviation.shape == units.strength.shape == (3, len(units.filters))
        assert torch.allclose(units.strength.mean(1), torch.ones(3, dtype=torch.float64))
        assert units.deviation.isfinite().all()
        assert ((units.spread >= 0) & (units.spread <= 1)).all()


def test_known_strength_and_spread():
    """The dense example by hand: kernels and biases of the first layer, columns of the second."""
    of, spec = case("dense")
    weights = random_weights(spec, 4, 0)
    first, second = spec.layers[0].name, spec.layers[1].name
    units = layer_units(of, weights)[0]
    assert units.layer == first
    read = weights[second][:, :, : weights[first].shape[1]].square().sum(1).sqrt()
    assert torch.allclose(units.strength, read / read.mean(1, keepdim=True))
    theta = weights[first]
    spread = (theta.var(0, correction=0).sum(1) / theta.square().sum(2).mean(0)).sqrt()
    assert torch.allclose(units.spread, spread)


def test_units_that_change_places_keep_their_figures():
    of, spec = case("residual")
    weights = random_weights(spec, 3, 0)
    action = random_action(of, 1, torch.Generator().manual_seed(1), kinds=["permutation"])
    moved = {}
    for number in range(3):  # all networks alike
        one = apply_action(of, action, {layer: theta[number : number + 1] for layer, theta in weights.items()})
        moved = {layer: torch.cat([moved[layer], theta]) if moved else theta for layer, theta in one.items()}
    for before, after in zip(layer_units(of, weights), layer_units(of, moved), strict=True):
        assert torch.allclose(before.spread.sort().values, after.spread.sort().values)
        assert torch.allclose(before.strength.sort(1).values, after.strength.sort(1).values)


def test_switched_off_units_are_found_and_zero_filters_give_no_nan():
    of, spec = case("dense")
    weights = random_weights(spec, 3, 0)
    weights[spec.layers[1].name][:, :, 0] = 0  # nobody reads the first unit
    units = layer_units(of, weights)[0]
    assert not units.strength[:, 0].any()
    whole, weak = units.weak_part(0.1)
    assert float(weak) == pytest.approx(float(units.deviation[:, 0].sum()))
    assert 0 < float(weak) < float(whole)
    zero = {layer: 0 * theta for layer, theta in weights.items()}
    for units in layer_units(of, zero):
        assert not units.deviation.any()
        assert (units.strength == 1).all()
    same = {layer: theta[:1].expand(3, -1, -1) for layer, theta in weights.items()}
    assert all(float(units.spread.max()) < 1e-12 for units in layer_units(of, same))


FAST = {**tiny.GENERATED, "trainer.steps": 2, "evaluation.every": 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_figures_and_pictures(name, tmp_path):
    settings = {"trainer.steps": 2, "trainer.device": "cpu", "evaluation.every": 2, "evaluation.networks": 2}
    run = hf.train(name, FAST if name == "digits" else settings, out=tmp_path / "run")
    found = analyse(run, "unit_diversity", make_registry(), {"networks": 5, "weak": 0.5})
    folder = run.folder / "analyses" / "unit_diversity"
    assert {path.name for path in folder.iterdir()} == {"results.json", "units.png"}
    assert found["networks"] == 5
    assert all(math.isfinite(number) for number in tiny.numbers(found))
    assert 0 <= found["weak_diversity"] <= 1
    spec = run.experiment.target.spec
    assert list(found["layers"]) == [layer.name for layer in spec.layers[:-1]]
    for layer, results in found["layers"].items():
        assert results["filters"] == list(range(spec.layer(layer).filters))
        assert sum(results["strength"]) == pytest.approx(len(results["strength"]))
    assert analyse(run, "unit_diversity", make_registry(), {"networks": 5, "weak": 0.5}) == found


@pytest.mark.slow
def test_many_layers_and_statistics(tmp_path):
    """Colours by depth for more layers than colours; BatchNorm; no statistics are estimated."""
    from torch import nn

    def block(inputs, outputs):
        return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]

    module = nn.Sequential(
        nn.Flatten(), *block(64, 4), *(part for _ in range(8) for part in block(4, 4)), nn.Linear(4, 10)
    )
    run = hf.train("digits", FAST, module=module, out=tmp_path / "run")
    found = analyse(run, "unit_diversity", make_registry(), {"networks": 3})
    assert len(found["layers"]) == 9
    assert all(math.isfinite(number) for number in tiny.numbers(found))


def test_networks_without_units_are_refused(tmp_path):
    run = hf.train("digits", {**FAST, "target": "mlp", "target.hidden": []}, out=tmp_path / "run")
    with pytest.raises(NotApplicableError, match="analysis 'unit_diversity' does not apply: no layer of target 'mlp'"):
        analyse(run, "unit_diversity", make_registry())
