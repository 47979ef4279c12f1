"""Rank-one factors keep the laws of generators; their layers are those of the paper, and their divergence torch's."""

import math

import pytest
import torch
import torch.nn.functional as F
from hyperframe_baselines.rank1 import Options, Rank1
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal, kl_divergence

from hyperframe.networks import Target
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel
from hyperframe.testing import conformance


def grouped():
    """A grouped convolution, a transposed one and a dense layer; and their spec."""
    module = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, groups=2), nn.Flatten(), nn.Linear(36, 3)
    )
    layers = [
        LayerSpec(
            name="first", filters=6, groups=2, writes=["a"], params=[kernel("0.weight", "o i h w"), bias("0.bias")]
        ),
        LayerSpec(
            name="second",
            filters=4,
            groups=2,
            reads=["a"],
            writes=["b"],
            params=[kernel("2.weight", "i o h w"), bias("2.bias")],
        ),
        LayerSpec(name="out", filters=3, reads=["b"], params=[kernel("4.weight", "o i"), bias("4.bias")]),
    ]
    units = [UnitSpec(name="a", size=6, ops=["relu"]), UnitSpec(name="b", size=4, ops=["flatten"])]
    spec = TargetSpec(name="grouped", input_shape=(4, 4, 4), num_outputs=3, logits="out", layers=layers, units=units)
    return module, spec.bind(module)


def generator(spec, seed=0, **options):
    torch.manual_seed(seed)
    return Rank1(Options(**options), spec).double()


@conformance("rank1")
def test_laws(check):
    check()


@pytest.mark.slow
@conformance("rank1", {"components": 1, "spread": 0.0})
def test_laws_with_one_component(check):
    check()


@given(st.integers(0, 2**16), st.integers(1, 5), st.floats(0.05, 3))
def test_the_penalty_is_the_mean_divergence_of_the_components(seed, components, prior_std):
    own = generator(grouped()[1], seed, components=components, prior_std=prior_std)
    z = own.latent(3, torch.Generator().manual_seed(seed))
    prior = Normal(torch.ones_like(own.mean), prior_std)
    expected = kl_divergence(Normal(own.mean, own.std), prior).sum(1).mean()
    torch.testing.assert_close(own.penalty(z, own(z)), expected)


@torch.no_grad()
@pytest.mark.parametrize(("spread", "gap"), [(0.0, 0.0), (3.0, math.log(3))], ids=["together", "apart"])
def test_the_penalty_bounds_the_divergence_of_the_mixture(spread, gap):
    own = generator(grouped()[1], components=3, spread=spread, initial_std=0.2, prior_std=3.0)
    z = own.latent(6000, torch.Generator().manual_seed(0))
    component = z[:, 0].long()
    factors = own.mean[component] + own.std[component] * z[:, 1:]
    logs = Normal(own.mean, own.std).log_prob(factors[:, None]).sum(2).logsumexp(1) - math.log(3)
    estimates = logs - Normal(1.0, 3.0).log_prob(factors).sum(1)
    error = float(estimates.std()) / 6000**0.5
    # Equal components are one, and the bound is the divergence; without an overlap it is log K more.
    assert float(own.penalty(z, {}) - estimates.mean()) == pytest.approx(gap, abs=4 * error)
    assert error < 0.2


@given(st.integers(0, 2**16))
def test_layers_multiply_their_inputs_and_outputs(seed):
    module, spec = grouped()
    own = generator(spec, seed, components=2)
    z = own.latent(4, torch.Generator().manual_seed(seed))
    x = torch.randn(4, 5, 4, 4, 4, dtype=torch.float64)
    outputs = Target(module.double(), spec).forward(own(z), x, training=True)
    first, second, last = (own.kernels[str(number)] for number in range(3))
    for row, inputs, found in zip(z, x, outputs, strict=True):
        k = int(row[0])
        r1, s1, r2, s2, r3, s3 = (own.mean[k] + own.std[k] * row[1:]).split([6, 4, 4, 6, 3, 36])
        biases = [own.points[str(number)][k].flatten() for number in range(3)]
        hidden = F.conv2d(inputs * s1[:, None, None], first.reshape(6, 2, 3, 3), groups=2)
        hidden = (hidden * r1[:, None, None] + biases[0][:, None, None]).relu()
        # torch keeps a transposed kernel as [group and input, output of the group, height, width].
        turned = second.reshape(2, 2, 3, 2, 2).transpose(1, 2).reshape(6, 2, 2, 2)
        hidden = F.conv_transpose2d(hidden * s2[:, None, None], turned, groups=2)
        hidden = (hidden * r2[:, None, None] + biases[1][:, None, None]).flatten(1)
        expected = F.linear(hidden * s3, last) * r3 + biases[2]
        torch.testing.assert_close(found, expected)


@given(st.integers(1, 5), st.integers(1, 12))
def test_components_take_turns(components, count):
    own = generator(grouped()[1], components=components)
    found = own.latent(count, torch.Generator().manual_seed(0))[:, 0].long().bincount(minlength=components)
    assert int(found.max() - found.min()) <= 1
