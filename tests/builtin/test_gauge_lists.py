"""The gauges of signs, normalisations, logit shifts and permutations, alone and in lists, on traced networks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import KNOWN, chain, dense
from torch import nn

from hyperframe.targets.symmetry.exact import exact_copy, redraw, run_exactly
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import KINDS, apply_action, orbits, random_action
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.weights import flatten
from hyperframe.tasks.classification import ClassificationTask

FIXES = {
    "logit_shift": {"logit_shift"},
    "scale": {"scaling"},
    "sign": {"sign"},
    "normalisation": {"normalisation", "norm_sign"},
    "permutation_sort": {"permutation"},
}
LISTS = [
    *((name,) for name in FIXES),
    ("scale", "normalisation"),
    ("scale", "sign", "normalisation"),
    ("normalisation", "permutation_sort"),
    tuple(FIXES),
]
NETWORKS = [
    "residual",
    "dense connections",
    "depthwise block",
    "a norm that is used twice",
    "BatchNorm of the input",
    "BatchNorm without affine part",
    "GroupNorm",
    "LayerNorm over all",
    "layer scale",
    "tanh before a mean",
    "transposed, grouped",
    "depthwise with a multiplier",
    "called three times",
    "both halves of a sign",
    "channel shuffle",
]
canonical = ClassificationTask().canonical_outputs


@pytest.fixture(scope="module")
def traced():
    """Networks that were traced already, by name."""
    known = {}

    def get(name):
        if name not in known:
            make, shape, _ = KNOWN[name]
            torch.manual_seed(0)
            module = make()
            found = trace(module, shape, "net")
            known[name] = found, orbits(found.structure, shift_invariant=True), exact_copy(module)
        return known[name]

    return get


def make_gauge(registry, names, of):
    components = {name: registry.get("gauge", name).component for name in names}
    return ComposedGauge({name: part.factory(part.options(), of) for name, part in components.items()})


def draw_case(traced, name, seed, networks=2):
    found, of, copy = traced(name)
    rng = torch.Generator().manual_seed(seed)
    weights = redraw(found.spec, networks, rng)
    return found.spec, of, copy, weights, torch.randn(10, *found.spec.input_shape, generator=rng, dtype=torch.float64)


def assert_close(one, other, tolerance=1e-9):
    for layer in other:
        size = other[layer].abs().amax((1, 2), keepdim=True)
        assert ((one[layer] - other[layer]).abs() <= tolerance * size).all(), layer


def check_laws(spec, of, copy, gauge, fixed, weights, inputs, seed):
    once = gauge(weights)
    before = canonical(run_exactly(copy, spec, weights, inputs))
    after = canonical(run_exactly(copy, spec, once, inputs))
    assert before.isfinite().all()
    assert (before - after).abs().max() <= 1e-8 * before.abs().max(), "the function is kept"
    rng = torch.Generator().manual_seed(seed)
    action = random_action(of, len(flatten(spec, weights)), rng, kinds=fixed, exponents=None)
    assert_close(gauge(apply_action(of, action, weights)), once)
    assert_close(gauge(once), once)


@pytest.mark.parametrize("names", LISTS, ids="+".join)
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=4)
@given(seed=st.integers(0, 999))
def test_laws(registry, traced, name, names, seed):
    spec, of, copy, weights, inputs = draw_case(traced, name, seed)
    fixed = set().union(*(FIXES[gauge] for gauge in names))
    check_laws(spec, of, copy, make_gauge(registry, names, of), fixed, weights, inputs, seed)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("scale", "normalisation"), tuple(FIXES)], ids="+".join)
def test_laws_on_a_residual_network(registry, names):
    component = registry.get("target", "resnet20").component
    found = component.factory(component.options())
    of, copy, rng = orbits(found.structure, True), exact_copy(found.module), torch.Generator().manual_seed(0)
    weights, inputs = redraw(found.spec, 2, rng), torch.randn(8, 3, 32, 32, generator=rng, dtype=torch.float64)
    fixed = set().union(*(FIXES[gauge] for gauge in names))
    check_laws(found.spec, of, copy, make_gauge(registry, names, of), fixed, weights, inputs, 0)


@pytest.mark.parametrize("name", FIXES)
def test_fixes_of_each_gauge_are_as_expected(registry, traced, name):
    _, of, _ = traced("residual")
    assert make_gauge(registry, [name], of).names == [name]
    component = registry.get("gauge", name).component
    assert component.factory(component.options(), of).fixes == FIXES[name]


def test_all_kinds_are_fixed_by_one_list_in_their_order(registry, traced):
    _, of, _ = traced("residual")
    assert make_gauge(registry, tuple(FIXES)[::-1], of).names == list(FIXES)
    assert set().union(*FIXES.values()) == set(KINDS)


@pytest.mark.parametrize("name", ["residual", "dense connections", "GroupNorm"])
def test_kernels_before_a_norm_have_their_norm_no_bias_and_a_positive_scale(registry, traced, name):
    spec, of, _, weights, _ = draw_case(traced, name, 0)
    gauged = make_gauge(registry, ["normalisation"], of)(weights)
    seen = 0
    for layer in spec.layers:
        if layer.norm != "batch" or not layer.fan_in:
            continue
        seen += 1
        kernel = gauged[layer.name][:, :, layer.columns["kernel"]]
        torch.testing.assert_close(kernel.square().sum(2), torch.full(kernel.shape[:2], float(layer.fan_in)).double())
        assert (gauged[layer.name][:, :, layer.columns["scale"]] > 0).all()
        if "bias" in layer.columns:
            assert not gauged[layer.name][:, :, layer.columns["bias"]].any()
    assert seen == {"residual": 4, "dense connections": 0, "GroupNorm": 0}[name]
    assert any(not torch.equal(gauged[layer], weights[layer]) for layer in weights)


def test_a_kernel_that_is_zero_stays_and_has_a_finite_gradient(registry, traced):
    spec, of, _, weights, _ = draw_case(traced, "residual", 0)
    layer = next(layer for layer in spec.layers if layer.norm == "batch")
    weights[layer.name][:, 1] = 0
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    gauged = make_gauge(registry, ["scale", "normalisation"], of)(leaves)
    assert not gauged[layer.name][:, 1].any()
    sum(value.sin().sum() for value in gauged.values()).backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves.values())


@pytest.mark.parametrize("name", ["residual", "dense connections", "depthwise block", "tanh before a mean"])
@pytest.mark.parametrize("names", [("normalisation",), ("sign",), ("logit_shift",)], ids="+".join)
def test_derivatives_agree_with_finite_differences(registry, traced, name, names):
    spec, of, _, weights, _ = draw_case(traced, name, 0, networks=1)
    gauge = make_gauge(registry, names, of)
    rng = torch.Generator().manual_seed(1)
    direction = {layer: torch.randn(value.shape, generator=rng, dtype=value.dtype) for layer, value in weights.items()}
    leaves = {layer: value.clone().requires_grad_() for layer, value in weights.items()}
    flatten(spec, gauge(leaves)).sin().sum().backward()
    slope = sum(float((leaves[layer].grad * direction[layer]).sum()) for layer in weights)
    step, values = 1e-6, []
    for sign in (1, -1):
        moved = {layer: value + sign * step * direction[layer] for layer, value in weights.items()}
        values.append(float(flatten(spec, gauge(moved)).sin().sum()))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_equal_filters_stand_in_the_order_of_their_readers(registry, traced):
    _, of, _, weights, _ = draw_case(traced, "transposed, grouped", 0, networks=1)
    gauge = make_gauge(registry, ["permutation_sort"], of)
    weights["0"][:] = weights["0"][:, :1]  # all units are written alike
    moved = apply_action(of, random_action(of, 1, torch.Generator().manual_seed(3), kinds=["permutation"]), weights)
    assert any(not torch.equal(moved[layer], weights[layer]) for layer in weights)
    assert_close(gauge(moved), gauge(weights))


def test_with_the_modules_own_epsilon_outputs_change_by_little(registry, traced):
    """A gauge that is exact without an epsilon changes outputs the more, the larger it is beside the variance."""
    spec, of, copy, weights, inputs = draw_case(traced, "residual", 0, networks=1)
    gauged = make_gauge(registry, ["scale", "normalisation"], of)(weights)
    copy.train()
    from torch.func import functional_call

    from hyperframe.targets.weights import to_state_dict

    before, after = (
        functional_call(copy, to_state_dict(spec, part, 0), (inputs,)).detach() for part in (weights, gauged)
    )
    copy.eval()
    change = float((canonical(before) - canonical(after)).abs().max() / before.abs().max())
    assert 0 < change < 1e-2


def test_units_with_equal_filters_behind_a_norm_stand_in_one_order(registry):
    """The norm's scale reads both alike as well: what comes after it decides."""
    module = chain(dense(3, 4), nn.ReLU(), nn.BatchNorm1d(4), dense(4, 2))
    traced = trace(module, (3,))
    of, rng = orbits(traced.structure, True), torch.Generator().manual_seed(0)
    weights = redraw(traced.spec, 2, rng)
    for layer in ("0", "2"):
        weights[layer][:, 1:] = weights[layer][:, :1]
    component = registry.get("gauge", "permutation_sort").component
    gauge = component.factory(component.options(), of)
    for seed in range(5):
        action = random_action(of, 2, torch.Generator().manual_seed(seed), kinds=["permutation"])
        for layer, theta in gauge(apply_action(of, action, weights)).items():
            assert torch.equal(theta, gauge(weights)[layer]), layer
