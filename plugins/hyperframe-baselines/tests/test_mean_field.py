"""The variational Gaussian keeps the laws of generators, and finds the posterior of a linear regression."""

import json

import pytest
import torch
from hyperframe_baselines.mean_field import MeanField, Options
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal, kl_divergence

import hyperframe as hf
from hyperframe.targets import LayerSpec, TargetSpec, bias, flatten, kernel
from hyperframe.testing import conformance


def linear(inputs=3, outputs=1):
    """A dense layer without any before it."""
    layer = LayerSpec(name="out", filters=outputs, params=[kernel("weight", "o i"), bias("bias")])
    spec = TargetSpec(name="linear", input_shape=(inputs,), num_outputs=outputs, logits="out", layers=[layer])
    return spec.bind(nn.Linear(inputs, outputs))


def generator(spec, seed=0, **options):
    torch.manual_seed(seed)
    return MeanField(Options(**options), spec).double()


@conformance("mean_field")
def test_laws(check):
    check()


@given(st.integers(0, 2**16), st.floats(1e-3, 2), st.floats(0.1, 10))
def test_draws_are_of_the_gaussian_that_the_penalty_is_of(seed, initial_std, prior_std):
    own = generator(linear(), seed, initial_std=initial_std, prior_std=prior_std)
    z = own.latent(5, torch.Generator().manual_seed(seed))
    weights = own(z)
    torch.testing.assert_close(flatten(own.spec, weights), own.mean + initial_std * z, rtol=1e-5, atol=1e-8)
    posterior, prior = Normal(own.mean, own.std), Normal(torch.zeros_like(own.mean), prior_std)
    torch.testing.assert_close(own.penalty(z, weights), kl_divergence(posterior, prior).sum())
    assert own.latent_entropy() == pytest.approx(4 * Normal(0.0, 1.0).entropy().item())


def test_the_posterior_of_a_linear_regression():
    # Inputs whose columns, that of the bias among them, are orthogonal: the posterior's precision is diagonal, and the
    # best Gaussian with independent weights is the posterior itself.
    noise, prior_std, signs = 0.5, 0.8, torch.tensor([1.0, -1.0], dtype=torch.float64)
    x = torch.cartesian_prod(signs, 2 * signs, 0.3 * signs)
    design = torch.cat([x, torch.ones(8, 1, dtype=torch.float64)], 1)
    y = torch.randn(8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    variance = 1 / (1 / prior_std**2 + design.square().sum(0) / noise**2)
    mean = variance * (design.T @ y) / noise**2

    own = generator(linear(), prior_std=prior_std)
    # Points ±√d along the axes have mean 0 and covariance I: the loss's mean over them is its expectation.
    axes = 4**0.5 * torch.eye(4, dtype=torch.float64)
    z = torch.cat([axes, -axes])

    def loss():
        weights = own(z)
        outputs = flatten(own.spec, weights) @ design.T
        likelihood = ((outputs - y).square() / (2 * noise**2)).mean()
        value = len(y) * likelihood + own.penalty(z, weights)
        optimiser.zero_grad()
        value.backward()
        return value

    optimiser = torch.optim.LBFGS(
        own.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    optimiser.step(loss)
    torch.testing.assert_close(own.mean.detach(), mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(own.std.detach().square(), variance, rtol=1e-6, atol=1e-8)


def test_training_adds_the_divergence_to_the_loss(tmp_path):
    settings = {"generator": "mean_field", "diversity": "none", "objective.lambda": 1197, "trainer.steps": 1}
    settings |= {"trainer.networks": 2, "trainer.log_every": 1, "evaluation.networks": 2, "trainer.device": "cpu"}
    run = hf.train("digits", settings, out=tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    [found] = [line for line in lines if "accuracy_loss" in line]
    assert found["penalty"] > 0
    assert found["loss"] == pytest.approx(1197 * found["accuracy_loss"] + found["penalty"], rel=1e-6)
