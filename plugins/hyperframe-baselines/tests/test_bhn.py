"""Bayesian hypernetworks: scales that a flow draws, directions that are points, and the divergence of the scales."""

import pytest
import torch
from hyperframe_baselines.bhn import BayesianHypernetwork, Options
from hypothesis import given, settings
from hypothesis import strategies as st
from of_flows import train_and_check
from torch.distributions import Normal, kl_divergence
from torch.func import jacrev

import hyperframe as hf
from hyperframe.errors import ConfigError
from hyperframe.targets import LayerSpec, TargetSpec, bias, flatten
from hyperframe.testing import conformance

FEW = settings(max_examples=12, deadline=None)
SEEDS = st.integers(0, 999)


@pytest.mark.slow
@conformance("bhn")
def test_laws(check):
    check()


@conformance("bhn", {"flow_steps": 0})
def test_laws_without_a_flow(check):
    check()


@pytest.fixture(scope="module")
def spec():
    layers = torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)
    return hf.trace(torch.nn.Sequential(*layers), input_shape=(3,)).spec


def make(spec, seed=0, **options):
    """In float64, with parameters far from where they start."""
    torch.manual_seed(seed)
    generator = BayesianHypernetwork(Options(**{"flow_hidden": 5, **options}), spec)
    rng = torch.Generator().manual_seed(seed)
    generator = generator.double().requires_grad_(False)
    for parameter in generator.parameters():
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return generator


def draw(generator, count, seed=0):
    return generator.latent(count, torch.Generator().manual_seed(seed))


def kernels(spec, weights):
    return [weights[layer.name][..., layer.columns["kernel"]] for layer in spec.layers if layer.fan_in]


@FEW
@given(SEEDS)
def test_weights_are_one_function_of_the_noise(spec, seed):
    generator = make(spec, seed)
    z = draw(generator, 7, seed)
    whole = flatten(spec, generator(z))
    assert torch.equal(whole, flatten(spec, generator(z)))
    torch.testing.assert_close(torch.cat([flatten(spec, generator(part)) for part in z.split(3)]), whole)


@FEW
@given(SEEDS)
def test_kernels_are_scales_times_directions_and_the_rest_are_points(spec, seed):
    generator = make(spec, seed)
    z = draw(generator, 6, seed)
    weights, (scales, _) = generator(z), generator.scales(z)
    points = {layer.name: own[None] for layer, own in zip(spec.layers, generator.layers, strict=True)}
    own = scales.split([layer.filters for layer in spec.layers if layer.fan_in], 1)
    for g, v, kernel in zip(own, kernels(spec, points), kernels(spec, weights), strict=True):
        torch.testing.assert_close(kernel, g[:, :, None] * v / v.norm(dim=2, keepdim=True))
    for layer in spec.layers:
        fixed = torch.ones(layer.filter_size, dtype=torch.bool)
        if layer.fan_in:
            fixed[layer.columns["kernel"]] = False
        assert fixed.any()
        rest = weights[layer.name][:, :, fixed]
        assert torch.equal(rest, points[layer.name][:, :, fixed].expand_as(rest))


def test_the_length_of_a_direction_does_not_matter(spec):
    generator = make(spec)
    z = draw(generator, 3)
    before = flatten(spec, generator(z))
    generator.layers[0][:, spec.layers[0].columns["kernel"]] *= 4
    torch.testing.assert_close(flatten(spec, generator(z)), before)


def test_first_weights_are_those_of_an_ordinary_network(spec):
    torch.manual_seed(0)
    generator = BayesianHypernetwork(Options(), spec)
    weights = generator(torch.zeros_like(draw(generator, 1)))
    for own, theta in zip(generator.layers, weights.values(), strict=True):
        torch.testing.assert_close(theta[0], own, rtol=0.3, atol=0.01)


@FEW
@given(SEEDS, st.floats(0.2, 3))
def test_the_penalty_without_a_flow_is_the_known_divergence(spec, seed, prior_std):
    generator = make(spec, seed, flow_steps=0, prior_std=prior_std)

    def value(z):
        return generator.penalty(z[None], generator(z[None]))

    zero = torch.zeros(generator.dimension, dtype=torch.float64)
    found = value(zero) + jacrev(jacrev(value))(zero).trace() / 2  # E of a polynomial of second degree in the noise
    own = Normal(generator.scales.mean, (generator.scales.log_variance / 2).exp())
    torch.testing.assert_close(found, kl_divergence(own, Normal(0.0, prior_std)).sum(), rtol=1e-6, atol=1e-6)


@FEW
@given(SEEDS, st.integers(0, 4))
def test_the_penalty_is_log_q_less_log_p_of_what_is_drawn(spec, seed, flow_steps):
    generator = make(spec, seed, flow_steps=flow_steps, prior_std=0.7)
    noise, total = draw(generator, 3, seed), 0.0
    for row in noise:
        scales = generator.scales(row[None])[0][0]
        jacobian = jacrev(lambda one: generator.scales(one[None])[0][0])(row)
        log_q = Normal(0.0, 1.0).log_prob(row).sum() - torch.linalg.slogdet(jacobian).logabsdet
        total += log_q - Normal(0.0, 0.7).log_prob(scales).sum()
    torch.testing.assert_close(generator.penalty(noise, generator(noise)), total / 3, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_descent_on_the_penalty_finds_the_prior(spec):
    """Scales that answer to nothing but their prior: KL 0 needs the flow to end at N(0, prior_std²)."""
    torch.manual_seed(0)
    generator = BayesianHypernetwork(Options(flow_steps=2, flow_hidden=8, prior_std=0.5), spec)
    optimizer = torch.optim.Adam(generator.scales.parameters(), lr=0.03)
    for seed in range(300):
        z = draw(generator, 64, seed)
        optimizer.zero_grad()
        generator.penalty(z, generator(z)).backward()
        optimizer.step()
    with torch.no_grad():
        z = draw(generator, 4000, 1000)
        scales, _ = generator.scales(z)
        assert float(generator.penalty(z, generator(z))) == pytest.approx(0, abs=0.1)
    assert float(scales.mean()) == pytest.approx(0, abs=0.1)
    assert float(scales.std()) == pytest.approx(0.5, abs=0.1)


def test_a_target_without_kernels_is_refused():
    layer = LayerSpec(name="shift", filters=2, params=[bias("bias")])
    spec = TargetSpec(name="shifts", input_shape=(2,), num_outputs=2, layers=[layer])
    with pytest.raises(ConfigError, match=r"'bhn'.*'shifts' has no kernel"):
        BayesianHypernetwork(Options(), spec)


@pytest.mark.slow
def test_it_trains_on_the_loss_and_the_whole_penalty(tmp_path):
    train_and_check("bhn", tmp_path, left=0.8)
