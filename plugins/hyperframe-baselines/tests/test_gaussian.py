"""The divergence of diagonal Gaussians, against torch.distributions."""

import pytest
import torch
from hyperframe_baselines.gaussian import kl_to_prior, rho_of, std_of
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence


@given(st.integers(0, 2**16), st.integers(1, 9), st.floats(-3, 3), st.floats(0.05, 20))
def test_the_divergence_is_that_of_torch(seed, entries, prior_mean, prior_std):
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(entries, generator=rng, dtype=torch.float64)
    std = torch.rand(entries, generator=rng, dtype=torch.float64) + 1e-3
    expected = kl_divergence(Normal(mean, std), Normal(mean * 0 + prior_mean, prior_std)).sum()
    torch.testing.assert_close(kl_to_prior(mean, std, prior_mean, prior_std), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("std", [1e-6, 0.01, 1.0, 30.0])
def test_a_deviation_comes_back_from_its_parameter(std):
    assert float(std_of(torch.tensor(rho_of(std), dtype=torch.float64))) == pytest.approx(std, rel=1e-9)
