"""Targets that ship: every one keeps the contract of specs, and `lenet` and `mlp` compute what they say."""

import pytest
import torch
import torch.nn.functional as F
from tiny import target_of

from hyperframe.api import installed
from hyperframe.config import load_config
from hyperframe.errors import ConfigError
from hyperframe.plugins import OWN_DISTRIBUTION
from hyperframe.symmetry import apply_action, orbits, random_action
from hyperframe.testing.examples import random_inputs, random_weights
from hyperframe.weights import pack, unpack

# Every target with its defaults, which also holds for those that are added, and some with other options.
SHIPPED = [
    entry.component.name
    for entry in installed().all()
    if entry.kind == "target" and entry.source.distribution == OWN_DISTRIBUTION
]
PERCEPTRONS = [
    {},
    {"hidden": ()},
    {"hidden": (), "input_shape": (3,), "outputs": 2},
    {"hidden": (5,), "input_shape": (7,), "outputs": 1},
    {"hidden": (6, 4, 5), "input_shape": (2, 3, 3), "outputs": 3},
    {"hidden": (5, 4), "activation": "tanh"},
    {"hidden": (5, 4), "activation": "gelu"},
]
REQUIRED = {"torchvision": {"model": "resnet18"}}
CASES = [(name, REQUIRED.get(name, {})) for name in SHIPPED]
CASES += [("digits_cnn", {"channels": (3, 5)}), ("lenet", {"classes": 3})]
CASES += [("mlp", options) for options in PERCEPTRONS if options]
NETWORKS, IMAGES = 3, 4


def case_id(value):
    return value if isinstance(value, str) else ",".join(f"{key}={item}" for key, item in value.items()) or "defaults"


def make_target(registry, name, options):
    component = registry.get("target", name).component
    return target_of(component.factory(component.options(**options))).to("cpu", torch.float64)


def draw(target):
    """Weights of some networks, and inputs that all of them share."""
    return random_weights(target.spec, NETWORKS, 0), random_inputs(target.spec, IMAGES, 1)


def move(target, weights, kind):
    """What a random symmetry of one kind makes of the weights; where there is one, it changes them."""
    of = orbits(target.structure, shift_invariant=True)
    moved = apply_action(of, random_action(of, NETWORKS, torch.Generator().manual_seed(2), kinds=[kind]), weights)
    changed = any(not torch.equal(moved[layer], value) for layer, value in weights.items())
    assert changed == (sum(map(len, of.permutations)) > 0 if kind == "permutation" else of.counts[kind] > 0)
    return moved


every_target = pytest.mark.parametrize(("name", "options"), CASES, ids=case_id)


def test_all_that_ship_are_tried():
    assert {"digits_cnn", "lenet", "mlp", "mnist_cnn"} <= set(SHIPPED)


@every_target
def test_the_batched_forward_equals_each_module(registry, name, options):
    target = make_target(registry, name, options)
    assert target.spec.name.partition(":")[0] == name
    weights, x = draw(target)
    outputs = target.forward(weights, x, shared=True)
    assert outputs.shape == (NETWORKS, IMAGES, target.spec.num_outputs)
    for number in range(NETWORKS):
        torch.testing.assert_close(outputs[number], target.network(weights, number)(x), rtol=1e-12, atol=1e-12)


@every_target
def test_pack_inverts_unpack_bit_for_bit(registry, name, options):
    target = make_target(registry, name, options)
    weights, _ = draw(target)
    parameters = unpack(target.spec, weights)
    shapes = {key: (NETWORKS, *parameter.shape) for key, parameter in target.module.named_parameters()}
    assert {key: tuple(value.shape) for key, value in parameters.items()} == shapes
    packed = pack(target.spec, parameters)
    assert packed.keys() == weights.keys()
    assert all(torch.equal(packed[layer], weights[layer]) for layer in weights)


@every_target
def test_powers_of_two_keep_outputs_bit_for_bit(registry, name, options):
    target = make_target(registry, name, options)
    weights, x = draw(target)
    moved = move(target, weights, "scaling")
    for training in (False, True):
        before = target.forward(weights, x, shared=True, training=training)
        assert torch.equal(target.forward(moved, x, shared=True, training=training), before)


@every_target
def test_permutations_keep_outputs(registry, name, options):
    target = make_target(registry, name, options)
    weights, x = draw(target)
    moved = move(target, weights, "permutation")
    for training in (False, True):
        before = target.forward(weights, x, shared=True, training=training)
        after = target.forward(moved, x, shared=True, training=training)
        assert (before - after).abs().max() <= 1e-9 * before.abs().max()


# LeNet.


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_symmetries_of_lenet(registry, classes):
    target = make_target(registry, "lenet", {"classes": classes})
    units = 6 + 16 + 120 + 84
    expected = {"scaling": units, "permutation": units, "logit_shift": 84 + 1}
    counts = orbits(target.structure, shift_invariant=True).counts
    assert {kind: count for kind, count in counts.items() if count} == expected


def test_lenet_computes_what_it_says(registry):
    target = make_target(registry, "lenet", {})
    weights, x = draw(target)
    net = target.network(weights, 1)
    *pairs, last = zip(*[iter(net.parameters())] * 2, strict=True)
    y = x
    for weight, shift in pairs[:2]:
        y = F.max_pool2d(F.conv2d(y, weight, shift).relu(), 2)
    assert y.shape == (IMAGES, 16, 5, 5)
    y = y.flatten(1)
    for weight, shift in pairs[2:]:
        y = F.linear(y, weight, shift).relu()
    torch.testing.assert_close(net(x), F.linear(y, *last))


# The perceptron.


@pytest.mark.parametrize("options", PERCEPTRONS, ids=case_id)
def test_symmetries_of_the_perceptron(registry, options):
    target = make_target(registry, "mlp", options)
    hidden = options.get("hidden", (64, 64))
    inputs = target.spec.layer("out").fan_in
    scaled = sum(hidden) if options.get("activation", "relu") == "relu" else 0
    signs = sum(hidden) if options.get("activation") == "tanh" else 0
    expected = {"scaling": scaled, "permutation": sum(hidden), "logit_shift": inputs + 1, "sign": signs}
    counts = orbits(target.structure, shift_invariant=True).counts
    assert counts == expected | {"normalisation": 0, "norm_sign": 0}
    assert target.spec.layer_names == [*(f"hidden{number + 1}" for number in range(len(hidden))), "out"]
    assert [unit.name for unit in target.spec.units] == target.spec.layer_names[:-1]
    sizes = [x for layer in target.spec.layers for x in (layer.fan_in, layer.filters)]
    assert sizes[1:-1:2] == list(hidden)
    assert sizes[2::2] == list(hidden)


@pytest.mark.parametrize("options", PERCEPTRONS, ids=case_id)
def test_the_perceptron_computes_what_it_says(registry, options):
    target = make_target(registry, "mlp", options)
    weights, x = draw(target)
    activation = {"relu": F.relu, "tanh": F.tanh, "gelu": F.gelu}[options.get("activation", "relu")]
    net = target.network(weights, 1)
    *pairs, last = zip(*[iter(net.parameters())] * 2, strict=True)
    y = x.flatten(1)
    for weight, shift in pairs:
        y = activation(F.linear(y, weight, shift))
    torch.testing.assert_close(net(x), F.linear(y, *last))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["target=mlp", "target.input_shape=[]"], "target: input_shape: expected at least one number"),
        (["target=mlp", "target.hidden=[4,0]"], r"target\.hidden: expected a list of whole numbers, at least 1"),
        (["target=mlp", "target.activation=sine"], r"target\.activation: expected one of relu, tanh, gelu"),
        (["target=mlp", "target.outputs=0"], r"target\.outputs: expected a whole number, at least 1"),
        (["target=lenet", "target.classes=1"], r"target\.classes: expected a whole number, at least 2"),
    ],
)
def test_options_that_make_no_network_are_named(registry, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config("digits", overrides, registry)
