"""The targets `lenet`, `mlp` and `unet_tiny` have the expected symmetries and outputs."""

import pytest
import torch
import torch.nn.functional as F
from tiny import target_of

from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError
from hyperframe.targets.symmetry.orbits import orbits
from hyperframe.testing.examples import random_inputs, random_weights

PERCEPTRONS = [
    {},
    {"hidden": ()},
    {"hidden": (), "input_shape": (3,), "outputs": 2},
    {"hidden": (5,), "input_shape": (7,), "outputs": 1},
    {"hidden": (6, 4, 5), "input_shape": (2, 3, 3), "outputs": 3},
    {"hidden": (5, 4), "activation": "tanh"},
    {"hidden": (5, 4), "activation": "gelu"},
]
NETWORKS, IMAGES = 3, 4


def case_id(value):
    return value if isinstance(value, str) else ",".join(f"{key}={item}" for key, item in value.items()) or "defaults"


def make_target(registry, name, options):
    component = registry.get("target", name).component
    return target_of(component.factory(component.options(**options))).to("cpu", torch.float64)


def draw(target):
    """Weights of some networks, and inputs that all of them share."""
    return random_weights(target.spec, NETWORKS, 0), random_inputs(target.spec, IMAGES, 1)


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


# The transformer and the recurrent network.


def test_the_transformer_computes_what_it_says(registry):
    target = make_target(registry, "vit_tiny", {"width": 8, "heads": 2, "depth": 1, "hidden": 6})
    assert target.spec.num_weights == 40 + 16 * 8 + 4 * 8 + (24 * 9 + 8 * 9) + (6 * 9 + 8 * 7) + 2 * 8 + 90
    weights, x = draw(target)
    net = target.network(weights, 1)
    state = net.state_dict()
    tokens = F.conv2d(x, state["patches.weight"], state["patches.bias"], 2).flatten(2).mT + state["positions"]

    def normed(y, name):
        return F.layer_norm(y, (8,), state[f"{name}.weight"], state[f"{name}.bias"])

    def dense(y, name):
        return F.linear(y, state[f"{name}.weight"], state[f"{name}.bias"])

    q, k, v = dense(normed(tokens, "blocks.0.norm1"), "blocks.0.attention.qkv").split(8, -1)
    heads = [(q[..., own] @ k[..., own].mT / 2).softmax(-1) @ v[..., own] for own in (slice(0, 4), slice(4, 8))]
    tokens = tokens + dense(torch.cat(heads, -1), "blocks.0.attention.out")
    hidden = F.gelu(dense(normed(tokens, "blocks.0.norm2"), "blocks.0.mlp.0"))
    tokens = tokens + dense(hidden, "blocks.0.mlp.2")
    torch.testing.assert_close(net(x), dense(normed(tokens, "norm").mean(1), "out"))


@pytest.mark.slow
def test_weights_of_the_transformer_with_its_defaults(registry):
    assert make_target(registry, "vit_tiny", {}).spec.num_weights == 18_154


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_symmetries_of_the_recurrent_network(registry, layers):
    target = make_target(registry, "lstm_classifier", {"hidden": 6, "layers": layers, "input_shape": (4, 3)})
    counts = orbits(target.structure, shift_invariant=True).counts
    expected = {"permutation": 6 * layers, "sign": 6 * layers, "logit_shift": 6 + 1}
    assert {kind: count for kind, count in counts.items() if count} == expected


@pytest.mark.slow
def test_weights_of_the_recurrent_network_with_its_defaults(registry):
    assert make_target(registry, "lstm_classifier", {}).spec.num_weights == 2_692


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vit_tiny", {"input_shape": (1, 8)}, r"input_shape: expected \[channels, height, width\], but got \[1, 8\]"),
        ("vit_tiny", {"patch": 3}, "patch: 3 does not divide images of 8 × 8 pixels"),
        ("vit_tiny", {"heads": 5}, "heads: 5 heads cannot have equal parts of 32 channels"),
        (
            "lstm_classifier",
            {"input_shape": (1, 8, 8)},
            r"input_shape: expected \[steps, features\], but got \[1, 8, 8\]",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(registry, name, options, message):
    with pytest.raises(ValueError, match=message):
        registry.get("target", name).component.options(**options)


# U-Net.


@pytest.mark.slow
def test_the_logits_of_each_pixel_can_be_shifted(registry):
    """One vector that is added to all rows of the last convolution shifts the classes of each pixel alike."""
    target = make_target(registry, "unet_tiny", {"channels": (3, 4, 5)})
    counts = orbits(target.structure, shift_invariant=True).counts
    assert counts["logit_shift"] == 3 + 1  # what it reads, and its bias
    assert counts["permutation"] == 2 * (3 + 4 + 5 + 4 + 3)
    weights, inputs = draw(target)
    outputs = target.forward(weights, inputs, shared=True)
    assert outputs.shape == (NETWORKS, IMAGES, 4, 32, 32)
    moved = {**weights, "out": weights["out"] + torch.linspace(-1, 1, 4, dtype=torch.float64)}
    change = target.forward(moved, inputs, shared=True) - outputs
    assert float(change.std((3, 4)).min()) > 0.01
    torch.testing.assert_close(change, change.mean(2, keepdim=True).expand_as(change))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"input_shape": (1, 30, 32)}, "multiples of 4, but got"), ({"channels": (3, 4)}, "expected three numbers")],
)
def test_a_u_net_of_other_sizes_is_refused(registry, options, message):
    component = registry.get("target", "unet_tiny").component
    with pytest.raises(ValueError, match=message):
        component.options(**options)
