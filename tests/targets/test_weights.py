"""Weights, parameters, flat rows and state_dicts: bit for bit into one another, and the module runs on them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hyperframe.errors import SpecError
from hyperframe.networks.target import Target
from hyperframe.targets.params import bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.targets.units import UnitSpec
from hyperframe.targets.weights import (
    batch_size,
    concatenate,
    flatten,
    from_state_dicts,
    pack,
    slice_weights,
    to_state_dict,
    unflatten,
    unpack,
)
from hyperframe.testing import strategies
from hyperframe.testing.examples import EXAMPLES, random_inputs, random_weights

REGISTERED = ["digits_cnn", "mnist_cnn"]
EVERY = [*REGISTERED, *EXAMPLES]


def draw_target(data, registry, name):
    if name in EXAMPLES:
        return data.draw(strategies.targets(name), label="target")
    component = registry.get("target", name).component
    return Target(*component.factory(component.options())).to("cpu", torch.float64)


def equal(one, other):
    """Bit for bit the same tensors under the same names."""
    assert one.keys() == other.keys()
    return all(one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one)


def check_pack_inverts_unpack(target, weights):
    parameters = unpack(target.spec, weights)
    shapes = {name: tuple(parameter.shape) for name, parameter in target.module.named_parameters()}
    assert {name: tuple(value.shape[1:]) for name, value in parameters.items()} == shapes
    assert sum(value.numel() for value in parameters.values()) == sum(value.numel() for value in weights.values())
    assert equal(pack(target.spec, parameters), weights)


def check_unpack_inverts_pack(target, parameters):
    weights = pack(target.spec, parameters)
    for layer in target.spec.layers:
        assert weights[layer.name].shape[1:] == (layer.filters, layer.filter_size)
    assert equal(unpack(target.spec, weights), parameters)


def check_flatten(spec, weights, flat):
    rows = flatten(spec, weights)
    assert rows.shape == (batch_size(weights), spec.num_weights)
    assert equal(unflatten(spec, rows), weights)
    assert torch.equal(flatten(spec, unflatten(spec, flat)), flat)


def check_state_dicts(target, weights):
    states = [to_state_dict(target.spec, weights, index) for index in range(batch_size(weights))]
    assert equal(from_state_dicts(target.spec, states), weights)
    for state in states:
        buffers = dict(target.module.named_buffers())
        target.module.load_state_dict(state | buffers, strict=True)
        kept = {name: target.module.state_dict()[name] for name in state}
        assert equal(kept, state)


def check_modules_agree(target, weights, x, statistics=None):
    """The batched forward computes for a network what it computes as a module."""
    outputs = target.forward(weights, x, shared=True, statistics=statistics)
    own = target.forward(weights, x.expand(batch_size(weights), *x.shape), statistics=statistics)
    size = outputs.abs().max()
    for index in range(batch_size(weights)):
        alone = target.network(weights, index, statistics)(x)
        assert (outputs[index] - alone).abs().max() <= 1e-12 * size
        assert (own[index] - alone).abs().max() <= 1e-12 * size


def check_filters_are_channels(module, layers):
    """Each filter makes one output channel, and the others have no part in it.

    As many networks as filters: all weights of each are zero but for one filter, and only its channel may light up.
    """
    shape = (module.in_features,) if isinstance(module, nn.Linear) else (module.in_channels, 5, 5)
    target = Target(module, TargetSpec(name="one", input_shape=shape, num_outputs=1, layers=layers))
    target.to("cpu", torch.float64)
    filters = sum(layer.filters for layer in layers)
    # Positive weights and inputs: nothing cancels.
    weights = {name: value.abs() for name, value in random_weights(target.spec, filters, 0).items()}
    network = 0
    for layer in layers:
        mask = torch.zeros(filters, layer.filters, 1, dtype=torch.float64)
        mask[torch.arange(network, network + layer.filters), torch.arange(layer.filters)] = 1
        weights[layer.name] = weights[layer.name] * mask
        network += layer.filters
    outputs = target.forward(weights, random_inputs(target.spec, 2, 1).abs(), shared=True)
    lit = outputs.transpose(1, 2).flatten(2).ne(0)
    assert torch.equal(lit.any(2), torch.eye(filters, dtype=torch.bool))


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=10)
@given(data=st.data())
def test_pack_and_unpack_are_inverse(registry, name, data):
    target = draw_target(data, registry, name)
    check_pack_inverts_unpack(target, data.draw(strategies.weights(target.spec)))
    rng = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    shapes = {name: parameter.shape for name, parameter in target.module.named_parameters()}
    check_unpack_inverts_pack(
        target, {name: torch.randn(2, *shape, generator=rng, dtype=torch.float64) for name, shape in shapes.items()}
    )


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=10)
@given(data=st.data())
def test_flatten_and_unflatten_are_inverse(registry, name, data):
    target = draw_target(data, registry, name)
    rng = torch.Generator().manual_seed(data.draw(strategies.seeds()))
    flat = torch.randn(2, target.spec.num_weights, generator=rng)
    check_flatten(target.spec, data.draw(strategies.weights(target.spec)), flat)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=10)
@given(data=st.data())
def test_state_dicts_there_and_back(registry, name, data):
    target = draw_target(data, registry, name)
    check_state_dicts(target, data.draw(strategies.weights(target.spec)))


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=5)
@given(data=st.data())
def test_each_network_is_an_ordinary_module(registry, name, data):
    target = draw_target(data, registry, name)
    weights = data.draw(strategies.weights(target.spec))
    x = data.draw(strategies.inputs(target.spec))
    check_modules_agree(target, weights, x)


def test_a_network_takes_its_statistics_along():
    target = Target(*EXAMPLES["residual"]()).to("cpu", torch.float64)
    weights, x = random_weights(target.spec, 3, 0), random_inputs(target.spec, 4, 1)
    statistics = target.estimate_statistics(weights, [random_inputs(target.spec, 8, 2)])
    assert statistics.keys() == dict(target.module.named_buffers()).keys()
    check_modules_agree(target, weights, x, statistics)
    state = to_state_dict(target.spec, weights, 1, statistics)
    assert state.keys() == target.module.state_dict().keys()
    assert torch.equal(state["stem_norm.running_mean"], statistics["stem_norm.running_mean"][1])
    assert equal(from_state_dicts(target.spec, [state]), slice_weights(weights, slice(1, 2)))


def test_one_network_alone_has_the_statistics_it_has_among_others():
    """The first pass of a network alone tries out the layout, which must not disturb the modes of its parts."""
    batches = [random_inputs(Target(*EXAMPLES["residual"]()).spec, 8, seed) for seed in (2, 3)]
    found = []
    for count in (3, 1):
        target = Target(*EXAMPLES["residual"]()).to("cpu", torch.float64)
        weights = slice_weights(random_weights(target.spec, 3, 0), slice(count))
        found.append(target.estimate_statistics(weights, batches))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name][0], value[0])


def test_a_network_does_not_share_memory_with_the_batch():
    target = Target(*EXAMPLES["dense"]()).to("cpu", torch.float64)
    weights = random_weights(target.spec, 2, 0)
    before = {name: value.clone() for name, value in weights.items()}
    for parameter in target.network(weights, 0).parameters():
        parameter.data.zero_()
    for value in to_state_dict(target.spec, weights, 1).values():
        value.zero_()
    assert equal(weights, before)


ONE_LAYER = {
    "dense": (nn.Linear(3, 4), "o i", 1),
    "convolution": (nn.Conv2d(3, 4, 3), "o i h w", 1),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), "o i h w", 2),
    "depthwise": (nn.Conv2d(3, 3, 3, groups=3), "o i h w", 3),
    "transposed": (nn.ConvTranspose2d(3, 4, 2), "i o h w", 1),
    "grouped transposed": (nn.ConvTranspose2d(4, 6, 2, groups=2), "i o h w", 2),
    "depthwise transposed": (nn.ConvTranspose2d(3, 3, 2, groups=3), "i o h w", 3),
}


def one_layer(module, axes, groups):
    filters = module.bias.numel()
    return [
        LayerSpec(name="one", filters=filters, groups=groups, params=[kernel("weight", axes), bias("bias")]),
    ]


@pytest.mark.parametrize("case", ONE_LAYER)
def test_a_filter_is_what_makes_one_channel(case):
    module, axes, groups = ONE_LAYER[case]
    check_filters_are_channels(module, one_layer(module, axes, groups))


def test_rows_of_one_parameter_are_filters_of_several_layers():
    layers = [
        LayerSpec(
            name=name,
            filters=end - start,
            params=[kernel("weight", "o i", rows=(start, end)), bias("bias", rows=(start, end))],
        )
        for name, start, end in (("low", 0, 2), ("high", 2, 5))
    ]
    check_filters_are_channels(nn.Linear(3, 5), layers)


@pytest.mark.parametrize(
    ("module", "axes", "groups"),
    [
        (nn.Linear(3, 3), "i o", 1),
        (nn.Conv2d(3, 3, 2), "i o h w", 1),
        (nn.ConvTranspose2d(3, 3, 2), "o i h w", 1),
        (nn.Conv2d(2, 2, 2), "h i o w", 1),
    ],
    ids=["dense", "convolution", "transposed", "taps"],
)
def test_wrong_axes_are_caught(module, axes, groups):
    with pytest.raises(AssertionError):
        check_filters_are_channels(module, one_layer(module, axes, groups))


def test_a_filter_is_laid_out_in_the_order_of_its_parameters():
    spec = TargetSpec(
        name="one",
        input_shape=(2, 3, 3),
        num_outputs=3,
        units=[UnitSpec(name="out", size=3, ops=[])],
        layers=[
            LayerSpec(
                name="conv",
                filters=3,
                norm="batch",
                writes=["out"],
                params=[bias("0.bias"), kernel("0.weight", "o i h w"), shift("1.bias"), scale("1.weight")],
            )
        ],
    )
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    weights = from_state_dicts(spec.bind(net), [net.state_dict()])["conv"]
    for k in range(3):
        conv, norm = net
        expected = [conv.bias[k : k + 1], conv.weight[k].flatten(), norm.bias[k : k + 1], norm.weight[k : k + 1]]
        assert torch.equal(weights[0, k], torch.cat(expected))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_filter_holds_what_its_group_reads(groups):
    net = nn.ConvTranspose2d(4, 6, (2, 3), groups=groups)
    spec = TargetSpec(name="one", input_shape=(4, 3, 3), num_outputs=6, layers=one_layer(net, "i o h w", groups))
    weights = from_state_dicts(spec.bind(net), [net.state_dict()])["one"]
    written, read = 6 // groups, 4 // groups
    for k in range(6):
        group = k // written
        kernel_of_k = net.weight[group * read : (group + 1) * read, k % written]
        assert torch.equal(weights[0, k], torch.cat([kernel_of_k.flatten(), net.bias[k : k + 1]]))


def test_a_table_is_a_filter_for_every_channel():
    target = Target(*EXAMPLES["table"](tokens=2, width=3))
    rows = torch.arange(6.0).view(1, 2, 3)
    state = to_state_dict(target.spec, random_weights(target.spec, 1, 0, torch.float32), 0) | {"table": rows}
    assert from_state_dicts(target.spec, [state])["table"].tolist() == [[[0, 3], [1, 4], [2, 5]]]


def test_flat_rows_hold_layer_after_layer():
    spec = Target(*EXAMPLES["residual"]()).spec
    weights = random_weights(spec, 2, 0)
    rows = flatten(spec, dict(reversed(weights.items())))
    assert torch.equal(rows, torch.cat([weights[name].reshape(2, -1) for name in ("stem", "inner", "back", "out")], 1))


def test_missing_parameters_are_named():
    target = Target(*EXAMPLES["dense"]())
    weights = random_weights(target.spec, 1, 0)
    parameters = unpack(target.spec, weights)
    del parameters["2.bias"]
    with pytest.raises(SpecError, match=r"target 'dense_relu': parameter '2\.bias' is missing"):
        pack(target.spec, parameters)
    whole, part = (to_state_dict(target.spec, weights, 0) for _ in range(2))
    del part["0.weight"]
    with pytest.raises(SpecError, match=r"target 'dense_relu': the state_dict has no parameter '0\.weight'"):
        from_state_dicts(target.spec, [whole, part])


def test_weights_of_an_unbound_spec_are_refused():
    _, spec = EXAMPLES["dense"]()
    with pytest.raises(SpecError, match=r"'0\.weight'.*bind the spec"):
        unpack(spec, {"first": torch.zeros(1, 4, 4), "out": torch.zeros(1, 3, 5)})


def test_batches_are_sliced_and_joined():
    spec = Target(*EXAMPLES["dense"]()).spec
    weights = random_weights(spec, 5, 0)
    parts = [slice_weights(weights, slice(0, 2)), slice_weights(weights, torch.tensor([2, 3, 4]))]
    assert [batch_size(part) for part in parts] == [2, 3]
    assert equal(concatenate(parts), weights)


@settings(max_examples=20)
@given(data=st.data())
def test_strategies_draw_what_they_say(data):
    target = data.draw(strategies.targets(maximum=3))
    spec = target.spec
    assert all(parameter.dtype == torch.float64 for parameter in target.module.parameters())
    weights = data.draw(strategies.weights(spec, batch=2))
    assert {name: value.shape for name, value in weights.items()} == {
        layer.name: (2, layer.filters, layer.filter_size) for layer in spec.layers
    }
    assert {value.dtype for value in weights.values()} == {torch.float64}
    assert data.draw(strategies.inputs(spec, 3, torch.float32)).shape == (3, *spec.input_shape)
    assert 1 <= batch_size(data.draw(strategies.weights(spec))) <= 3


def test_drawn_tensors_follow_their_seed():
    spec = Target(*EXAMPLES["residual"]()).spec
    assert equal(random_weights(spec, 2, 5), random_weights(spec, 2, 5))
    assert not equal(random_weights(spec, 2, 5), random_weights(spec, 2, 6))
    assert torch.equal(random_inputs(spec, 2, 5), random_inputs(spec, 2, 5))
    assert not torch.equal(random_inputs(spec, 2, 5), random_inputs(spec, 2, 6))
