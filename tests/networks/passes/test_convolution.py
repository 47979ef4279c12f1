"""One network on a CPU: the layout and the products that are fast there give what torch's own convolutions give."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.networks.passes.convolution import GreyConvolutions, channels_last
from hyperframe.networks.target import Target
from hyperframe.targets.weights import slice_weights, unpack


@pytest.mark.slow
@given(
    images=st.integers(1, 3),
    filters=st.integers(16, 20),
    size=st.tuples(st.integers(6, 9), st.integers(6, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))),
    padding=st.one_of(st.integers(0, 2), st.tuples(st.integers(0, 2), st.integers(0, 2))),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_a_product_is_the_convolution(images, filters, size, kernel, stride, padding, bias, seed):
    rng = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(*shape, generator=rng).double() for shape in ((images, 1, *size), (filters, 1, *kernel)))
    leaves = [weight.requires_grad_()]
    if bias:
        leaves.append(torch.randn(filters, generator=rng).double().requires_grad_())

    def values():
        outputs = torch.conv2d(x, *leaves, stride=stride, padding=padding)
        return outputs, torch.autograd.grad(outputs.square().sum(), leaves)

    wanted, gradients = values()
    with GreyConvolutions():
        found, own = values()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(own, gradients)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_convolution_of_grey_data_is_left_alone():
    rng = torch.Generator().manual_seed(0)
    grey, colours = (torch.randn(2, channels, 6, 6, generator=rng) for channels in (1, 3))
    calls = [
        lambda: torch.conv2d(colours, torch.ones(2, 3, 3, 3)),
        lambda: torch.conv2d(grey, torch.ones(9, 1, 2, 2), dilation=2),
        lambda: torch.conv2d(grey, torch.ones(9, 1, 3, 3), padding="same"),
        lambda: torch.conv2d(grey, torch.ones(8, 1, 3, 3)),
        lambda: nn.Conv2d(1, 9, 3, padding=(1,)).requires_grad_(False)(grey).sum() * 0,
        lambda: torch.conv2d(colours, torch.ones(3, 1, 3, 3), groups=3),
        lambda: torch.conv2d(grey[0], torch.ones(9, 1, 3, 3)),
        lambda: torch.nn.functional.conv1d(grey[:, :, 0], torch.ones(2, 1, 3)),
    ]
    for call in calls:
        wanted = call()
        with GreyConvolutions():
            assert torch.equal(call(), wanted)
    for bias in (torch.ones(9).double(), torch.ones(8), torch.ones(9, 1)):
        with GreyConvolutions(), pytest.raises(RuntimeError, match="bias"):
            torch.conv2d(grey, torch.ones(9, 1, 3, 3), bias)
    leaf = grey.clone().requires_grad_()
    with GreyConvolutions():
        (gradient,) = torch.autograd.grad(torch.conv2d(leaf, torch.ones(9, 1, 3, 3)).sum(), leaf)
        for wrong in (
            lambda: torch.conv2d(grey, torch.ones(9, 2, 3, 3)),
            lambda: torch.conv2d(grey, torch.ones(9, 1, 3, 3), padding=-1),
            lambda: torch.conv2d(grey, torch.ones(9, 1, 3, 3), torch.ones(1)),
        ):
            with pytest.raises(RuntimeError):
                wrong()
    assert float(gradient[0, 0, 3, 3]) == 81


class Viewing(nn.Module):
    """Hands what a convolution gives on in one way or another; `view` needs the ordinary layout."""

    def __init__(self, channels, hand_on):
        super().__init__()
        self.first, self.out, self.hand_on = nn.Conv2d(channels, 9, 3, padding=1), nn.Linear(9 * 36, 5), hand_on

    def forward(self, x):
        return self.out(self.hand_on(self, self.first(x).relu()))


HAND_ON = {
    "reshape": lambda module, x: x.reshape(len(x), -1),
    "view": lambda module, x: x.view(len(x), -1),
    "view in training": lambda module, x: x.view(len(x), -1) if module.training else x.reshape(len(x), -1),
    "as_strided": lambda module, x: x.as_strided((len(x), 9 * 36), (9 * 36, 1)),
    "assert": lambda module, x: _contiguous(x).flatten(1),
    "random": lambda module, x: nn.functional.dropout(x.flatten(1), 0.5),
}


def _contiguous(x):
    assert x.is_contiguous()
    return x


def viewing(channels, how):
    layers = [
        hf.targets.LayerSpec(
            name=name,
            filters=filters,
            params=[hf.targets.kernel(f"{name}.weight", axes), hf.targets.bias(f"{name}.bias")],
            **places,
        )
        for name, filters, axes, places in (
            ("first", 9, "o i h w", {"writes": ["first"]}),
            ("out", 5, "o i", {"reads": ["first"]}),
        )
    ]
    shape, units = (channels, 6, 6), [hf.targets.UnitSpec(name="first", size=9, ops=["relu", "flatten"])]
    spec = hf.targets.TargetSpec(
        name="viewing", input_shape=shape, num_outputs=5, units=units, layers=layers, logits="out"
    )
    return Target(Viewing(channels, HAND_ON[how]), spec).to("cpu", torch.float64)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("how", [how for how in HAND_ON if how != "random"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_module_that_needs_the_ordinary_layout_gets_it(channels, how, training):
    target = viewing(channels, how)
    rng = torch.Generator().manual_seed(0)
    weights = {
        layer.name: torch.randn(3, layer.filters, layer.filter_size, generator=rng).double()
        for layer in target.spec.layers
    }
    x = torch.randn(3, 2, channels, 6, 6, generator=rng).double()
    plain = [target.network(weights, number).train(training) for number in range(3)]
    for number in range(3):
        rows = slice(number, number + 1)
        found = target.forward(slice_weights(weights, rows), x[rows], training=training)
        torch.testing.assert_close(found[0], plain[number](x[number]))
    assert target._runner.any_layout is (how == "reshape")
    kernels = unpack(target.spec, slice_weights(weights, slice(1)))["first.weight"][0]
    laid_out = channels_last({"first.weight": kernels})["first.weight"]
    assert laid_out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(laid_out, kernels)


def test_trying_a_module_out_draws_no_random_numbers():
    target = viewing(3, "random")
    before = torch.get_rng_state()
    assert target._runner.any_layout
    assert target.activations > 0
    assert torch.equal(torch.get_rng_state(), before)


class Refusing(nn.Module):
    """Cannot run on one image, nor on two."""

    def __init__(self):
        super().__init__()
        self.register_parameter("count", nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False))
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        if len(x) < 3:
            raise ValueError("too few")
        return self.out(x)


def test_a_module_that_cannot_be_tried_out_still_runs():
    layer = hf.targets.LayerSpec(
        name="out", filters=2, params=[hf.targets.kernel("out.weight", "o i"), hf.targets.bias("out.bias")]
    )
    target = Target(Refusing(), hf.targets.TargetSpec(name="refusing", input_shape=(3,), num_outputs=2, layers=[layer]))
    assert target.activations == 3
    assert target.forward({"out": torch.ones(1, 2, 4)}, torch.ones(1, 4, 3)).tolist() == [[[4.0, 4.0]] * 4]


def test_networks_at_once_follow_from_the_activations():
    target = viewing(3, "reshape")
    assert target.activations == 3 * 36 + 9 * 36 + 5
    assert target.networks_at_once(10**9) == 1
    of_one = 64 * target.activations + target.spec.num_weights
    assert target.networks_at_once(64) * of_one <= 2**20 < (target.networks_at_once(64) + 1) * of_one
