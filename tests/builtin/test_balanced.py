"""The gauge `balanced`: the least norm on the orbit, units without a part in the function, derivatives."""

from itertools import pairwise

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import double_target
from torch import nn
from torch.autograd import forward_ad

import hyperframe as hf
from hyperframe.builtin.gauges.balanced.posynomial import Posynomial
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.targets.weights import batch_size, flatten, unflatten
from hyperframe.testing import strategies
from hyperframe.testing.examples import random_weights

PLAIN = ["dense", "digits_cnn", "depthwise", "table"]
"""Networks without a normalisation, whose norm has no choice left."""


def gauge_for(registry, of):
    component = registry.get("gauge", "balanced").component
    return component.factory(component.options(), of)


def traced(module, *shape):
    """A module's spec and symmetries."""
    found = hf.trace(module, shape)
    return found.spec, orbits(found.structure, shift_invariant=False)


def norm(weights):
    return sum(theta.square().sum((1, 2)) for theta in weights.values())


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=8, deadline=None)
@given(seed=strategies.seeds(), data=st.data())
def test_no_other_network_of_the_orbit_has_a_smaller_norm(registry, name, seed, data):
    target = double_target(registry, name)
    of = orbits(target.structure, shift_invariant=True)
    weights = data.draw(strategies.weights(target.spec))
    found = gauge_for(registry, of)(weights)
    logarithms, some = Posynomial(of).coefficients(found)
    written, read = Posynomial(of).sides(some * logarithms.exp())
    torch.testing.assert_close(written, read, rtol=1e-11, atol=0)
    rng = torch.Generator().manual_seed(seed)
    action = random_action(of, batch_size(weights), rng, kinds=["scaling"], exponents=None)
    assert (norm(found) < norm(apply_action(of, action, found))).all()
    assert (norm(found) <= norm(weights)).all()


def test_a_factor_between_two_layers_is_shared_equally(registry):
    spec, of = traced(nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)), 1)
    weights = {"0": torch.tensor([[[4.0]]]), "2": torch.tensor([[[1.0]]])}
    found = gauge_for(registry, of)(weights)
    assert [float(found[layer]) for layer in spec.layer_names] == [2.0, 2.0]
    assert all(theta.dtype == torch.float32 for theta in found.values())


def deep():
    layers = [part for _ in range(8) for part in (nn.Linear(3, 3), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(3, 2))


@pytest.mark.parametrize("name", [*PLAIN, pytest.param("deep", marks=pytest.mark.slow)])
@settings(max_examples=8, deadline=None)
@given(seed=strategies.seeds(), exponent=st.integers(-100, 100))
@example(seed=0, exponent=100)
@example(seed=0, exponent=-100)
def test_weights_of_any_size_are_balanced_alike(registry, name, seed, exponent):
    if name == "deep":
        spec, of = traced(deep(), 3)
    else:
        target = double_target(registry, name)
        spec, of = target.spec, orbits(target.structure, shift_invariant=True)
    gauge, weights = gauge_for(registry, of), random_weights(spec, 2, seed)
    found = flatten(spec, gauge({layer: theta * 2.0**exponent for layer, theta in weights.items()}))
    torch.testing.assert_close(found * 2.0**-exponent, flatten(spec, gauge(weights)), rtol=1e-10, atol=1e-12)


class Recurrent(nn.Module):
    """A recurrent network with ReLU."""

    def __init__(self):
        super().__init__()
        self.steps = nn.RNN(2, 3, nonlinearity="relu", batch_first=True)
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.steps(x)[0][:, -1])


def test_units_of_a_recurrent_network_are_balanced(registry):
    spec, of = traced(Recurrent(), 4, 2)
    found = gauge_for(registry, of)(random_weights(spec, 3, 0))
    recurrent, bias = found["steps.weight_hh_l0"].split([3, 1], 2)
    others = recurrent * (1 - torch.eye(3, dtype=recurrent.dtype))  # a unit's own state has its factor on both sides
    written = sum(part.square().sum(2) for part in (found["steps.weight_ih_l0"], bias, others))
    read = found["out"][:, :, :3].square().sum(1) + others.square().sum(1)
    torch.testing.assert_close(written, read, rtol=1e-11, atol=0)


# Units that have no part in the function.


def perceptron(registry, *sizes):
    layers = [part for inputs, filters in pairwise(sizes) for part in (nn.Linear(inputs, filters), nn.ReLU())]
    spec, of = traced(nn.Sequential(*layers[:-1]), sizes[0])
    return spec, gauge_for(registry, of)


def test_networks_that_differ_in_a_filter_that_is_switched_off_are_one(registry):
    spec, gauge = perceptron(registry, 3, 5, 2)
    weights = {layer: theta[:1].expand(4, -1, -1).clone() for layer, theta in random_weights(spec, 1, 0).items()}
    weights["0"][:, 2] = torch.randn(4, 4, dtype=torch.float64)  # each network has a filter of its own
    weights["2"][:, :, 2] = 0  # which the next layer does not read
    found = flatten(spec, gauge(weights))
    assert torch.equal(found, found[:1].expand_as(found))
    assert bool((gauge(weights)["0"][:, 2] == 0).all())
    weights["2"][:, :, 2] = 1e-3
    apart = flatten(spec, gauge(weights))
    assert float(torch.pdist(apart).min()) > 1e-3


def test_units_that_only_idle_units_read_are_idle(registry):
    spec, gauge = perceptron(registry, 3, 4, 5, 2)
    weights = random_weights(spec, 2, 0)
    weights["4"][:, :, 1] = 0  # unit 1 of the second layer is not read
    weights["2"][:, [0, 2, 3, 4], 3] = 0  # and alone reads unit 3 of the first
    found = gauge(weights)
    assert bool((found["0"][:, 3] == 0).all())
    assert bool((found["2"][:, 1] == 0).all())
    others = [0, 1, 2]
    assert bool((found["0"][:, others].abs().sum(2) > 0).all())


def test_units_that_nothing_writes_are_idle(registry):
    spec, gauge = perceptron(registry, 3, 4, 2)
    weights = random_weights(spec, 2, 0)
    weights["0"][:, 1] = 0
    found = gauge(weights)
    assert bool((found["2"][:, :, 1] == 0).all())
    assert bool((found["2"][:, :, [0, 2, 3]].abs().sum(1) > 0).all())


def test_a_unit_that_reads_only_itself_is_idle(registry):
    spec, of = traced(Recurrent(), 4, 2)
    weights = random_weights(spec, 2, 0)
    weights["out"][:, :, 1] = 0
    weights["steps.weight_hh_l0"][:, [0, 2], 1] = 0  # units 0 and 2 do not read unit 1, which reads itself
    found = gauge_for(registry, of)(weights)
    assert bool((found["steps.weight_ih_l0"][:, 1] == 0).all())
    assert bool((found["steps.weight_ih_l0"][:, [0, 2]].abs().sum(2) > 0).all())


# Derivatives.


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # torch's own, as it loads what forward mode needs
def test_derivatives_of_first_and_second_order_agree_with_difference_quotients(registry):
    spec, gauge = perceptron(registry, 2, 2, 3, 2)
    flat = flatten(spec, random_weights(spec, 1, 0)).requires_grad_()

    def gauged(rows):
        return flatten(spec, gauge(unflatten(spec, rows)))

    assert torch.autograd.gradcheck(gauged, [flat], eps=1e-6, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(gauged, [flat], eps=1e-6)

    def pushed(rows):
        with forward_ad.dual_level():
            moved = gauged(forward_ad.make_dual(rows, torch.ones_like(rows)))
            return forward_ad.unpack_dual(moved).tangent

    assert torch.autograd.gradcheck(pushed, [flat], eps=1e-6)


def test_a_target_without_factors_is_left_as_it_is(registry):
    spec, of = traced(nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 2)), 3)
    weights = random_weights(spec, 2, 0)
    found = gauge_for(registry, of)(weights)
    assert all(torch.equal(found[layer], theta) for layer, theta in weights.items())
