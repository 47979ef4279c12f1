"""One network on a CPU: the layout and the products that are fast there give what torch's own convolutions give."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.convolution import GreyConvolutions, channels_last
from hyperframe.target import Target
from hyperframe.weights import slice_weights, unpack


@given(
    images=st.integers(1, 3),
    filters=st.integers(1, 4),
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
        lambda: torch.conv2d(grey, torch.ones(2, 1, 2, 2), dilation=2),
        lambda: torch.conv2d(grey, torch.ones(2, 1, 3, 3), padding="same"),
        lambda: torch.conv2d(colours, torch.ones(3, 1, 3, 3), groups=3),
        lambda: torch.conv2d(grey[0], torch.ones(2, 1, 3, 3)),
        lambda: torch.nn.functional.conv1d(grey[:, :, 0], torch.ones(2, 1, 3)),
    ]
    for call in calls:
        wanted = call()
        with GreyConvolutions():
            assert torch.equal(call(), wanted)
    leaf = grey.clone().requires_grad_()
    with GreyConvolutions():
        (gradient,) = torch.autograd.grad(torch.conv2d(leaf, torch.ones(2, 1, 3, 3)).sum(), leaf)
    assert float(gradient[0, 0, 3, 3]) == 18


class Viewing(nn.Module):
    """Calls `view` on what a convolution gives, which needs the ordinary layout."""

    def __init__(self, reshape):
        super().__init__()
        self.first, self.out, self.reshape = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 36, 5), reshape

    def forward(self, x):
        hidden = self.first(x).relu()
        return self.out(hidden.reshape(len(x), -1) if self.reshape else hidden.view(len(x), -1))


def viewing(reshape):
    layers = [
        hf.LayerSpec(
            name=name, filters=filters, params=[hf.kernel(f"{name}.weight", axes), hf.bias(f"{name}.bias")], **places
        )
        for name, filters, axes, places in (
            ("first", 4, "o i h w", {"writes": ["first"]}),
            ("out", 5, "o i", {"reads": ["first"]}),
        )
    ]
    units = [hf.UnitSpec(name="first", size=4, ops=["relu", "flatten"])]
    spec = hf.TargetSpec(name="viewing", input_shape=(3, 6, 6), num_outputs=5, units=units, layers=layers, logits="out")
    return Target(Viewing(reshape), spec)


@pytest.mark.parametrize("reshape", [True, False])
def test_a_module_that_needs_the_ordinary_layout_gets_it(reshape):
    target = viewing(reshape)
    assert target._any_layout is reshape
    rng = torch.Generator().manual_seed(0)
    weights = {
        layer.name: torch.randn(3, layer.filters, layer.filter_size, generator=rng) for layer in target.spec.layers
    }
    x = torch.randn(3, 2, 3, 6, 6, generator=rng)
    together = target.forward(weights, x)
    for number in range(3):
        rows = slice(number, number + 1)
        torch.testing.assert_close(target.forward(slice_weights(weights, rows), x[rows]), together[rows])
        module = target.network(weights, number)
        torch.testing.assert_close(module(x[number]), together[number])
    kernels = unpack(target.spec, slice_weights(weights, slice(1)))["first.weight"][0]
    laid_out = channels_last({"first.weight": kernels})["first.weight"]
    assert laid_out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(laid_out, kernels)


def test_networks_at_once_follow_from_the_activations():
    target = viewing(True)
    assert target.activations == 3 * 36 + 4 * 36 + 5
    assert target.networks_at_once(10**9) == 1
    of_one = 64 * target.activations + target.spec.num_weights
    assert target.networks_at_once(64) * of_one <= 2**20 < (target.networks_at_once(64) + 1) * of_one
