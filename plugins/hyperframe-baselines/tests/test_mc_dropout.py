"""Dropout of whole filters keeps the laws of generators, and leaves out what an ordinary dropout of channels does."""

import pytest
import torch
import torch.nn.functional as F
from hyperframe_baselines.mc_dropout import McDropout, Options
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hyperframe.errors import ConfigError
from hyperframe.networks import Target
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel, scale, shift
from hyperframe.testing import conformance


def convolutions(normed):
    """A convolution, with or without a normalisation behind it, and a dense layer; and their spec."""
    between = [nn.BatchNorm2d(6)] if normed else []
    module = nn.Sequential(nn.Conv2d(2, 6, 3, bias=not normed), *between, nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    last = len(module) - 1
    params = [scale("1.weight"), shift("1.bias")] if normed else [bias("0.bias")]
    layers = [
        LayerSpec(
            name="hidden",
            filters=6,
            writes=["units"],
            norm="batch" if normed else "none",
            params=[kernel("0.weight", "o i h w"), *params],
        ),
        LayerSpec(
            name="out", filters=3, reads=["units"], params=[kernel(f"{last}.weight", "o i"), bias(f"{last}.bias")]
        ),
    ]
    units = [UnitSpec(name="units", size=6, ops=["relu", "flatten"])]
    spec = TargetSpec(name="conv", input_shape=(2, 4, 4), num_outputs=3, logits="out", layers=layers, units=units)
    return module, spec.bind(module)


@conformance("mc_dropout")
def test_laws(check):
    check()


@pytest.mark.slow
@conformance("mc_dropout", {"rate": 0.7})
def test_laws_where_most_are_left_out(check):
    check()


@pytest.mark.parametrize("normed", [False, True])
@given(seed=st.integers(0, 2**16), rate=st.floats(0.01, 0.99))
def test_networks_are_those_of_a_dropout_of_channels(normed, seed, rate):
    module, spec = convolutions(normed)
    torch.manual_seed(seed)
    own = McDropout(Options(rate=rate), spec).double()
    z = own.latent(4, torch.Generator().manual_seed(seed))
    x = torch.randn(4, 5, 2, 4, 4, dtype=torch.float64)
    outputs = Target(module.double(), spec).forward(own(z), x, training=True)
    first, last = own.layers
    for mask, inputs, found in zip(z, x, outputs, strict=True):
        hidden = F.conv2d(inputs, first[:, :18].reshape(6, 2, 3, 3), None if normed else first[:, 18])
        if normed:
            hidden = F.batch_norm(hidden, None, None, first[:, 18], first[:, 19], training=True)
        kept = hidden * mask[:, None, None] / (1 - rate)
        expected = F.linear(kept.relu().flatten(1), last[:, :24], last[:, 24])
        torch.testing.assert_close(found, expected)


def test_as_many_are_left_out_as_the_rate_says():
    own = McDropout(Options(rate=0.3), convolutions(False)[1])
    z = own.latent(20_000, torch.Generator().manual_seed(0))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert z.mean().item() == pytest.approx(0.7, abs=0.01)
    # The expectation of the weights is what is trained.
    torch.testing.assert_close(own(z)["hidden"].mean(0), own.layers[0], rtol=0.05, atol=1e-3)


def test_the_last_layer_is_never_touched():
    own = McDropout(Options(rate=0.9), convolutions(False)[1])
    weights = own(own.latent(50, torch.Generator().manual_seed(0)))
    assert torch.equal(weights["out"], own.layers[1].expand(50, -1, -1))


def test_a_target_without_hidden_layers_is_refused():
    layer = LayerSpec(name="out", filters=2, params=[kernel("weight", "o i"), bias("bias")])
    spec = TargetSpec(name="linear", input_shape=(3,), num_outputs=2, logits="out", layers=[layer])
    with pytest.raises(ConfigError, match="target 'linear' has none"):
        McDropout(Options(), spec.bind(nn.Linear(3, 2)))
