"""Multiplicative normalizing flows: what is drawn, and the divergence from the prior against known answers."""

import pytest
import torch
from hyperframe_baselines.mnfg import AuxiliaryPosterior, MultiplicativeFlows, Options
from hypothesis import given, settings
from hypothesis import strategies as st
from of_flows import randomised, train_and_check
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.func import jacrev

import hyperframe as hf
from hyperframe.targets import flatten
from hyperframe.testing import conformance

FEW = settings(max_examples=12, deadline=None)
SEEDS = st.integers(0, 999)
IDENTITY = {"flow_steps": 0, "auxiliary_steps": 0}


@conformance("mnfg")
def test_laws(check):
    check()


@pytest.mark.slow
@conformance("mnfg", IDENTITY)
def test_laws_without_flows(check):
    check()


@pytest.fixture(scope="module")
def spec():
    layers = torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    return hf.trace(torch.nn.Sequential(*layers), input_shape=(3,)).spec


def make(spec, seed=0, **options):
    torch.manual_seed(seed)
    return randomised(MultiplicativeFlows(Options(**{"flow_hidden": 5, **options}), spec), seed, spread=0.5)


def draw(generator, count, seed=0):
    return generator.latent(count, torch.Generator().manual_seed(seed))


def scaled_means(layer, z):
    """θ's means given the factors, written out for filters of a kernel and one bias."""
    return torch.cat([layer.mean[:, :-1] * z[:, None], layer.mean[:, -1:]], 1)


@FEW
@given(SEEDS)
def test_weights_are_one_function_of_the_noise(spec, seed):
    generator = make(spec, seed)
    z = draw(generator, 7, seed)
    whole = flatten(spec, generator(z))
    assert torch.equal(whole, flatten(spec, generator(z)))
    chunks = torch.cat([flatten(spec, generator(part)) for part in z.split(3)])
    torch.testing.assert_close(chunks, whole)


@FEW
@given(SEEDS)
def test_weights_have_the_standard_deviations_that_the_formula_says(spec, seed):
    """Without flows θ is linear in the noise: Cov = J Jᵀ, of a filter's kernel s² μμᵀ + diag σ², of its bias σ²."""
    generator = make(spec, seed, **IDENTITY)
    jacobian = jacrev(lambda z: flatten(spec, generator(z[None]))[0])(draw(generator, 1, seed)[0])
    blocks = []
    for layer in generator.layers:
        variances, spreads = layer.log_variance.exp(), layer.factors.log_variance.exp()
        for mean, variance, spread in zip(layer.mean, variances, spreads, strict=True):
            kernel = torch.cat([mean[:-1], torch.zeros(1, dtype=torch.float64)])
            blocks.append(spread * torch.outer(kernel, kernel) + variance.diag())
    torch.testing.assert_close(jacobian @ jacobian.T, torch.block_diag(*blocks))


def test_first_weights_are_those_of_an_ordinary_network(spec):
    torch.manual_seed(0)
    generator = MultiplicativeFlows(Options(), spec)
    z = torch.zeros_like(draw(generator, 1))
    for layer, weights in zip(generator.layers, generator(z).values(), strict=True):
        torch.testing.assert_close(weights[0, :, -1], layer.mean[:, -1])
        torch.testing.assert_close(weights[0], layer.mean, rtol=0.3, atol=0.05)


def expected(generator, size):
    """E of the penalty over the noise, exactly where it is a polynomial of second degree in it."""

    def value(z):
        return generator.penalty(z[None], generator(z[None]))

    zero = torch.zeros(size, dtype=torch.float64)
    return value(zero) + jacrev(jacrev(value))(zero).trace() / 2


def without_auxiliary(generator):
    for layer in generator.layers:
        layer.auxiliary.mean.zero_()
        layer.auxiliary.log_variance.zero_()
    return generator


@FEW
@given(SEEDS, st.floats(0.2, 3))
def test_the_penalty_without_flows_is_the_known_divergence(spec, seed, prior_std):
    """KL(q(W, z) ‖ p(W) r(z)) with all of them normal; E z² = m² + s²."""
    generator = without_auxiliary(make(spec, seed, prior_std=prior_std, **IDENTITY))
    known = 0.0
    for layer in generator.layers:
        z = layer.factors
        second = torch.cat(
            [(z.mean**2 + z.log_variance.exp())[:, None].expand(len(z.mean), layer.mean.shape[1] - 1)], 1
        )
        moments = torch.cat([second, torch.ones_like(second[:, :1])], 1) * layer.mean**2
        of_weights = (moments + layer.log_variance.exp()) / prior_std**2 - 1
        known += (of_weights - layer.log_variance).sum() / 2 + layer.mean.numel() * torch.tensor(prior_std).log()
        known += kl_divergence(Normal(z.mean, (z.log_variance / 2).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(expected(generator, generator.noise.latent), known, rtol=1e-6, atol=1e-6)


@FEW
@given(SEEDS)
def test_the_penalty_is_no_less_than_the_divergence_of_the_weights(spec, seed):
    """Without flows q(θ) itself is normal: factors that are integrated out."""
    generator = without_auxiliary(make(spec, seed, **IDENTITY))
    divergence = 0.0
    for layer in generator.layers:
        z = layer.factors
        for mean, variance, m, s in zip(
            scaled_means(layer, z.mean), layer.log_variance.exp(), z.mean, z.log_variance.exp(), strict=True
        ):
            kernel = torch.cat([mean[:-1] / m, torch.zeros(1, dtype=torch.float64)])
            own = MultivariateNormal(mean, s * torch.outer(kernel, kernel) + variance.diag())
            size = torch.eye(len(mean), dtype=torch.float64)
            divergence += kl_divergence(own, MultivariateNormal(torch.zeros_like(mean), size))
    assert float(expected(generator, generator.noise.latent)) > float(divergence)


@FEW
@given(SEEDS, st.integers(0, 3), st.integers(0, 3))
def test_the_penalty_is_what_its_parts_are_at_each_draw(spec, seed, flow_steps, auxiliary_steps):
    """With flows, log-determinants being those of Jacobians; averaged over the networks."""
    generator = make(spec, seed, flow_steps=flow_steps, auxiliary_steps=auxiliary_steps, prior_std=0.7)
    noise, total = draw(generator, 2, seed), 0.0
    weights, start = generator(noise), 0
    for layer, theta in zip(generator.layers, weights.values(), strict=True):
        for row, own in zip(noise, theta, strict=True):
            epsilon = row[start : start + len(layer.mean)]
            z = layer.factors(epsilon[None])[0][0]
            inner = Normal(scaled_means(layer, z), (layer.log_variance / 2).exp())
            total += kl_divergence(inner, Normal(0.0, 0.7)).sum()
            jacobian = jacrev(lambda one, layer=layer: layer.factors(one[None])[0][0])(epsilon)
            total += Normal(0.0, 1.0).log_prob(epsilon).sum() - torch.linalg.slogdet(jacobian).logabsdet
            r, kernel = layer.auxiliary, own[:, :-1]
            summary = sum(weight * filter_ for weight, filter_ in zip(r.summary, kernel, strict=True)).tanh().mean()
            jacobian = jacrev(lambda one, r=r: r.flow(one[None])[0][0])(z)
            last = Normal(r.mean * summary, (r.log_variance * summary / 2).exp())
            total -= last.log_prob(r.flow(z[None])[0][0]).sum() + torch.linalg.slogdet(jacobian).logabsdet
        start += len(layer.mean) + layer.mean.numel()
    torch.testing.assert_close(generator.penalty(noise, weights), total / 2, rtol=1e-6, atol=1e-6)


def test_the_auxiliary_posterior_is_a_density_of_the_factors():
    torch.manual_seed(0)
    r = randomised(AuxiliaryPosterior(2, 2, 5), 0, spread=0.5)
    axis = torch.linspace(-15, 15, 601, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    kernel = torch.randn(2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_r = r(z, kernel.expand(len(z), 2, 3))
    assert float(log_r.exp().sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-4)


def test_monte_carlo_agrees_with_the_known_divergence(spec):
    generator = without_auxiliary(make(spec, 3, **IDENTITY))
    parts = []
    for seed in range(20):
        z = draw(generator, 2000, seed)
        parts.append(generator.penalty(z, generator(z)))
    values = torch.stack(parts)
    error = values.std() / len(values) ** 0.5
    assert abs(float(values.mean() - expected(generator, generator.noise.latent))) < 4 * float(error)


def test_weights_that_are_the_prior_have_no_divergence():
    """A layer without a kernel has no factors, and a normalisation's scale has a prior around 1."""
    module = torch.nn.Sequential(torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))
    spec = hf.trace(module, input_shape=(3,)).spec
    generator = MultiplicativeFlows(Options(weight_log_variance=0.0), spec)
    z = draw(generator, 4)
    norm, dense = generator.layers
    assert norm.factors is None
    assert dense.factors is not None
    torch.testing.assert_close(norm.divergence(z[:, : sum(norm.sizes)], torch.empty(0)), torch.zeros(4))


def test_it_trains_on_the_loss_and_the_whole_penalty(tmp_path):
    train_and_check("mnfg", tmp_path, left=0.9)
