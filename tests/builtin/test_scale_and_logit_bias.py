"""The gauges `scale` and `logit_bias`, and lists of gauges: function, orbit, second application, wrong gauges."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import double_target
from torch.autograd.gradcheck import GradcheckError

from hyperframe.errors import ConfigError
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.symmetry.orbits import KINDS, apply_action, orbits, random_action
from hyperframe.targets.weights import batch_size, flatten, unflatten
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.testing import strategies
from hyperframe.testing.examples import EXAMPLES, random_inputs, random_weights
from hyperframe.types import Gauge

FIXES = {"scale": "scaling", "logit_bias": "logit_shift"}
LISTS = [("scale",), ("logit_bias",), ("scale", "logit_bias")]
CASES = [(target, names) for target in ("digits_cnn", "mnist_cnn") for names in LISTS]
CASES += [("residual", ("scale",)), ("residual", ("scale", "logit_bias"))]
# One pass of `scale` must do for every way in which layers hang together.
EVERY = CASES + [(name, ("scale", "logit_bias")) for name in EXAMPLES if name != "residual"]
canonical = ClassificationTask().canonical_outputs


def make_gauge(registry, names, of):
    components = {name: registry.get("gauge", name).component for name in names}
    return ComposedGauge({name: part.factory(part.options(), of) for name, part in components.items()})


def case(registry, name):
    target = double_target(registry, name)
    return target, orbits(target.structure, shift_invariant=True)


def bias_only(of, action):
    """The part of a logit shift that `logit_bias` fixes: what is added to the biases."""
    if action.shift is None:
        return action
    shift = torch.zeros_like(action.shift)
    if of.logit_shift.bias is not None:
        shift[:, of.logit_shift.bias] = action.shift[:, of.logit_shift.bias]
    return attrs.evolve(action, shift=shift)


def draw_action(of, names, batch, seed):
    kinds = [FIXES[name] for name in names]
    rng = torch.Generator().manual_seed(seed)
    return bias_only(of, random_action(of, batch, rng, kinds=kinds, exponents=None))


def assert_close(one, other, tolerance=1e-12):
    """Check that each layer's weights agree, relative to the largest of each network."""
    for name in other:
        size = other[name].abs().amax((1, 2), keepdim=True)
        assert ((one[name] - other[name]).abs() <= tolerance * size).all(), name


def check_keeps_function(target, gauge, weights, x, training=False):
    before = canonical(target.forward(weights, x, shared=True, training=training))
    after = canonical(target.forward(gauge(weights), x, shared=True, training=training))
    assert (before - after).abs().max() <= 1e-9 * before.abs().max()


def check_invariant(of, gauge, action, weights):
    assert_close(gauge(apply_action(of, action, weights)), gauge(weights))


def check_idempotent(gauge, weights):
    once = gauge(weights)
    assert_close(gauge(once), once)


def check_finite_gradients(gauge, weights):
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    sum((value.sin() * (1 + value)).sum() for value in gauge(leaves).values()).backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves.values())
    assert any(leaf.grad.any() for leaf in leaves.values())


def check_gradient(spec, gauge, weights):
    """Check that derivatives agree with finite differences."""
    flat = flatten(spec, weights).requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: flatten(spec, gauge(unflatten(spec, rows))), [flat], eps=1e-6)


def check_moves(gauge, weights):
    """Check that random weights are not their own representative."""
    moved = gauge(weights)
    assert any((moved[name] - value).abs().max() > 1e-2 for name, value in weights.items())


@pytest.mark.parametrize(
    ("name", "names"), EVERY, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
@settings(max_examples=8)
@given(seed=strategies.seeds(), data=st.data())
def test_laws(registry, name, names, seed, data):
    target = data.draw(strategies.targets(name)) if name in EXAMPLES else double_target(registry, name)
    of = orbits(target.structure, shift_invariant=True)
    gauge = make_gauge(registry, names, of)
    weights = data.draw(strategies.weights(target.spec))
    x = data.draw(strategies.inputs(target.spec))
    check_keeps_function(target, gauge, weights, x)
    check_keeps_function(target, gauge, weights, x, training=True)
    check_invariant(of, gauge, draw_action(of, names, batch_size(weights), seed), weights)
    check_idempotent(gauge, weights)
    check_finite_gradients(gauge, weights)


@pytest.mark.parametrize(
    ("name", "names"), CASES, ids=lambda value: value if isinstance(value, str) else "+".join(value)
)
def test_gauges_are_not_the_identity(registry, name, names):
    target, of = case(registry, name)
    check_moves(make_gauge(registry, names, of), random_weights(target.spec, 2, 0))


@pytest.mark.parametrize("names", LISTS, ids="+".join)
@pytest.mark.parametrize("name", ["dense", "residual", "depthwise", "table"])
def test_gradients_agree_with_finite_differences(registry, name, names):
    target = double_target(registry, name)
    gauge = make_gauge(registry, names, orbits(target.structure, shift_invariant=True))
    check_gradient(target.spec, gauge, random_weights(target.spec, 2, 0))


def test_filters_have_the_norm_of_their_size(registry):
    target, of = case(registry, "mnist_cnn")
    gauged = make_gauge(registry, ["scale"], of)(random_weights(target.spec, 2, 0))
    for layer, entries in {"layer1": 1 * 25 + 1, "layer2": 32 * 25 + 1, "layer3": 16 * 49 + 1}.items():
        norms = gauged[layer].square().sum(2).sqrt()
        assert torch.allclose(norms, torch.tensor(entries**0.5, dtype=torch.float64), rtol=1e-12)


def test_behind_a_normalisation_scale_and_shift_have_the_norm(registry):
    target, of = case(registry, "residual")
    weights = random_weights(target.spec, 2, 0)
    gauged = make_gauge(registry, ["scale"], of)(weights)
    for layer in ("stem", "inner"):
        norms = gauged[layer][:, :, -2:].square().sum(2).sqrt()
        assert torch.allclose(norms, torch.tensor(2**0.5, dtype=torch.float64), rtol=1e-12)
    # The tied writer takes over the factor of the first, whatever its norm comes to.
    factors = gauged["stem"][:, :, -2:] / weights["stem"][:, :, -2:]
    tied = gauged["back"][:, :, -2:] / weights["back"][:, :, -2:]
    assert torch.allclose(tied, factors, rtol=1e-12)
    assert torch.equal(gauged["stem"][:, :, :-2], weights["stem"][:, :, :-2])


def test_without_biases_kernels_have_the_norm(registry):
    target, of = case(registry, "unbiased")
    weights = random_weights(target.spec, 2, 0)
    gauged = make_gauge(registry, ["scale", "logit_bias"], of)(weights)
    assert torch.allclose(gauged["first"].square().sum(2), torch.tensor(3.0, dtype=torch.float64), rtol=1e-12)
    assert make_gauge(registry, ["logit_bias"], of)(weights) is weights


@pytest.mark.parametrize("name", ["digits_cnn", "mnist_cnn", "residual"])
def test_biases_of_the_logits_sum_to_zero(registry, name):
    target, of = case(registry, name)
    weights = random_weights(target.spec, 3, 0)
    gauged = make_gauge(registry, ["logit_bias"], of)(weights)
    last = target.spec.logits
    assert weights[last][:, :, -1].sum(1).abs().min() > 1e-3
    assert gauged[last][:, :, -1].sum(1).abs().max() < 1e-12
    assert torch.equal(gauged[last][:, :, :-1], weights[last][:, :, :-1])
    assert all(torch.equal(gauged[layer], weights[layer]) for layer in weights if layer != last)


def test_where_the_task_sees_shifts_the_biases_stay(registry):
    target = double_target(registry, "digits_cnn")
    gauge = make_gauge(registry, ["logit_bias"], orbits(target.structure, shift_invariant=False))
    weights = random_weights(target.spec, 2, 0)
    assert gauge(weights) is weights


@pytest.mark.parametrize("names", [("scale",), ("scale", "logit_bias")], ids="+".join)
@pytest.mark.parametrize(
    ("name", "layer", "carrier"), [("digits_cnn", "conv1", slice(None)), ("residual", "stem", slice(-2, None))]
)
def test_a_zero_filter_is_left_as_it_is(registry, name, layer, carrier, names):
    target, of = case(registry, name)
    gauge = make_gauge(registry, names, of)
    weights = random_weights(target.spec, 2, 0)
    weights[layer][:, 1, carrier] = 0
    leaves = {key: value.clone().requires_grad_() for key, value in weights.items()}
    gauged = gauge(leaves)
    assert torch.equal(gauged[layer][:, 1], weights[layer][:, 1])
    assert not torch.equal(gauged[layer][:, 0], weights[layer][:, 0])
    # Nothing that depends on its factor has a gradient at it: neither its readers nor the layers behind them.
    behind = [value for key, value in gauged.items() if key != layer]
    sum((value.sin() * (1 + value)).sum() for value in behind).backward()
    assert not leaves[layer].grad[:, 1, carrier].any()
    assert leaves[layer].grad[:, 0, carrier].all()
    check_finite_gradients(gauge, weights)
    check_idempotent(gauge, weights)
    check_keeps_function(target, gauge, weights, random_inputs(target.spec, 3, 0), training=True)
    # The zero filter cannot tell its own factor; all others are still fixed.
    action = draw_action(of, names, 2, 0)
    action.factors[:, 1] = 1
    check_invariant(of, gauge, action, weights)


@pytest.mark.parametrize("size", [1e-16, 1e-22, 1e-30, 1e16, 1e22, 1e30])
def test_single_precision_holds_for_filters_of_any_size(registry, size):
    target = double_target(registry, "digits_cnn").to("cpu", torch.float32)
    gauge = make_gauge(registry, ["scale"], orbits(target.structure, shift_invariant=True))
    weights = random_weights(target.spec, 2, 0, torch.float32)
    weights["conv1"][:, 1] *= size
    gauged = gauge(weights)
    assert {value.dtype for value in gauged.values()} == {torch.float32}
    assert torch.allclose(gauged["conv1"].square().sum(2), torch.tensor(10.0), rtol=1e-5)
    leaf = weights["conv1"].clone().requires_grad_()
    gauge(weights | {"conv1": leaf})["conv1"].sin().sum().backward()
    assert leaf.grad.isfinite().all()


# Composition.


class Stub(Gauge):
    """Writes its name into a list when it is applied."""

    def __init__(self, name, fixes, applied):
        self.name, self.fixes, self.applied = name, frozenset({fixes}), applied

    def __call__(self, weights):
        self.applied.append(self.name)
        return weights


def test_gauges_are_applied_in_the_order_of_kinds():
    for order in (KINDS, KINDS[::-1]):
        applied = []
        gauge = ComposedGauge({f"my_{kind}": Stub(kind, kind, applied) for kind in order})
        gauge({})
        assert applied == list(KINDS)
        assert gauge.names == [f"my_{kind}" for kind in KINDS]


def test_the_order_of_the_list_does_not_matter(registry):
    target, of = case(registry, "digits_cnn")
    weights = random_weights(target.spec, 2, 0)
    one = make_gauge(registry, ["scale", "logit_bias"], of)
    other = make_gauge(registry, ["logit_bias", "scale"], of)
    assert one.names == other.names
    for name, value in one(weights).items():
        assert torch.equal(value, other(weights)[name])


def test_no_gauges_are_the_identity():
    weights = {"layer": torch.ones(1, 2, 3)}
    assert ComposedGauge({})(weights) is weights


def test_two_gauges_for_one_orbit_are_named(registry):
    _, of = case(registry, "digits_cnn")
    scale = registry.get("gauge", "scale").component
    gauges = {"scale": scale.factory(scale.options(), of), "mine": Stub("mine", "scaling", [])}
    for order in (gauges, dict(reversed(gauges.items()))):
        with pytest.raises(ConfigError) as raised:
            ComposedGauge(order)
        for part in ("'scale'", "'mine'", "'scaling'"):
            assert part in str(raised.value)


def test_an_unknown_orbit_is_named():
    with pytest.raises(ConfigError, match=r"gauge 'mine' fixes rotation;.*logit_shift, scaling, .*permutation"):
        ComposedGauge({"mine": Stub("mine", "rotation", [])})


@pytest.mark.parametrize("name", FIXES)
def test_fixes_of_scale_and_logit_bias_are_as_expected(registry, name):
    _, of = case(registry, "digits_cnn")
    component = registry.get("gauge", name).component
    assert component.factory(component.options(), of).fixes == {FIXES[name]}


# Wrong gauges: the same checks must fail.


class Chain(Gauge):
    """Scaling of `digits_cnn` by hand, by any rule that turns a filter's squared norm and size into a factor."""

    fixes = frozenset({"scaling"})

    def __init__(self, rule, readers=True):
        self.rule, self.readers = rule, readers

    def __call__(self, weights):
        result = dict(weights)
        for layer, reader in (("conv1", "conv2"), ("conv2", "out")):
            theta = result[layer]
            factors = self.rule(theta.square().sum(2), theta.shape[2])
            result[layer] = theta * factors[:, :, None]
            if self.readers:
                kernel, bias = result[reader][:, :, :-1], result[reader][:, :, -1:]
                taps = kernel.shape[2] // factors.shape[1]
                kernel = kernel / factors.repeat_interleave(taps, 1)[:, None]
                result[reader] = torch.cat([kernel, bias], 2)
        return result


class Shift(Gauge):
    """Subtracts something from the biases of `digits_cnn`'s logits."""

    fixes = frozenset({"logit_shift"})

    def __init__(self, rule):
        self.rule = rule

    def __call__(self, weights):
        kernel, bias = weights["out"][:, :, :-1], weights["out"][:, :, -1:]
        return weights | {"out": torch.cat([kernel, bias - self.rule(bias)], 2)}


BY_HAND = {
    "scale": Chain(lambda squares, size: (size / squares).sqrt()),
    "logit_bias": Shift(lambda bias: bias.mean(1, keepdim=True)),
}
HALF_WAY = Chain(lambda squares, size: (size / squares) ** 0.25)
WITH_EPSILON = Chain(lambda squares, size: (size / (squares + 1e-3)).sqrt())
WITHOUT_READERS = Chain(lambda squares, size: (size / squares).sqrt(), readers=False)
THE_SUM = Shift(lambda bias: bias.sum(1, keepdim=True))
NOT_SHARED = Shift(lambda bias: bias)
WRONG = [
    ("the sum of the biases", THE_SUM, "invariant"),
    ("the sum of the biases", THE_SUM, "idempotent"),
    ("each bias its own", NOT_SHARED, "function"),
    ("readers forgotten", WITHOUT_READERS, "function"),
    ("half way", HALF_WAY, "idempotent"),
    ("half way", HALF_WAY, "invariant"),
    ("epsilon in the root", WITH_EPSILON, "invariant"),
    ("epsilon in the root", WITH_EPSILON, "idempotent"),
    ("no gauge", lambda weights: weights, "invariant"),
    ("no gauge", lambda weights: weights, "moves"),
]


def check_of(kind, registry, gauge, fixed, seed):
    """Run one of the checks above on `digits_cnn`."""
    target, of = case(registry, "digits_cnn")
    weights, x = random_weights(target.spec, 2, seed), random_inputs(target.spec, 3, seed)
    if kind == "function":
        check_keeps_function(target, gauge, weights, x)
    elif kind == "invariant":
        check_invariant(of, gauge, draw_action(of, fixed, 2, seed), weights)
    elif kind == "idempotent":
        check_idempotent(gauge, weights)
    else:
        check_moves(gauge, weights)


@pytest.mark.parametrize("name", FIXES)
def test_gauges_by_hand_agree(registry, name):
    """The right gauges, which the wrong ones are made from, pass all checks and equal those that ship."""
    target, of = case(registry, "digits_cnn")
    weights = random_weights(target.spec, 2, 0)
    assert_close(BY_HAND[name](weights), make_gauge(registry, [name], of)(weights))
    for kind in ("function", "invariant", "idempotent", "moves"):
        check_of(kind, registry, BY_HAND[name], [name], 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("what", "gauge", "kind"), WRONG, ids=[f"{what}-{kind}" for what, _, kind in WRONG])
def test_wrong_gauges_are_caught(registry, what, gauge, kind, seed):
    fixed = ["logit_bias"] if isinstance(gauge, Shift) else ["scale"]
    with pytest.raises(AssertionError):
        check_of(kind, registry, gauge, fixed, seed)


def test_subtracting_the_sum_keeps_the_function(registry):
    """So only the other two checks can catch this mistake."""
    check_of("function", registry, THE_SUM, ["logit_bias"], 0)


def test_a_root_without_a_guard_is_caught(registry):
    target, _ = case(registry, "digits_cnn")
    weights = random_weights(target.spec, 2, 0)
    weights["conv1"][:, 1] = 0
    with pytest.raises(AssertionError):
        check_finite_gradients(BY_HAND["scale"], weights)


def test_a_wrong_derivative_is_caught(registry):
    """A factor that the gradient does not see."""
    target = double_target(registry, "dense")
    gauge = make_gauge(registry, ["scale"], orbits(target.structure, shift_invariant=True))

    def detached(weights):
        moved = gauge({name: value.detach() for name, value in weights.items()})
        return {name: value * (moved[name] / value).detach() for name, value in weights.items()}

    weights = random_weights(target.spec, 1, 0)
    assert_close(detached(weights), gauge(weights))
    with pytest.raises(GradcheckError):
        check_gradient(target.spec, detached, weights)
