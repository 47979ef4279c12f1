"""Masked flows: log-determinants against Jacobians, inverses, and what the masks let through."""

import pytest
import torch
from hyperframe_baselines.flows import FlowDensity, MaskedFlow, MaskedStep, normal_log_density
from hypothesis import given, settings
from hypothesis import strategies as st
from of_flows import randomised
from torch.func import jacrev

FEW = settings(max_examples=20, deadline=None)
SIZES = st.integers(1, 7)
STEPS = st.integers(0, 4)
SEEDS = st.integers(0, 999)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flow_of(size, steps, seed, hidden=5):
    torch.manual_seed(seed)
    return randomised(MaskedFlow(torch.zeros(size), steps, hidden), seed, spread=0.7)


def log_determinant(function, row):
    return torch.linalg.slogdet(jacrev(function)(row)).logabsdet


@FEW
@given(SIZES, SEEDS, st.data())
def test_a_steps_log_determinant_is_that_of_its_jacobian(size, seed, data):
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    step = randomised(MaskedStep(mask, 4, torch.zeros(size)), seed, spread=0.7)
    z = normal(3, size, seed=seed)
    found, own = step(z)
    assert torch.equal(found[:, mask], z[:, mask])
    for row, value in zip(z, own, strict=True):
        torch.testing.assert_close(value, log_determinant(lambda one: step(one[None])[0][0], row))


@FEW
@given(SIZES, STEPS, SEEDS)
def test_a_flows_log_determinant_is_that_of_its_jacobian(size, steps, seed):
    flow, z = flow_of(size, steps, seed), 2 * normal(3, size, seed=seed)
    for row, value in zip(z, flow(z)[1], strict=True):
        torch.testing.assert_close(value, log_determinant(lambda one: flow(one[None])[0][0], row))


@FEW
@given(SIZES, STEPS, SEEDS)
def test_the_inverse_undoes_the_flow(size, steps, seed):
    flow, z = flow_of(size, steps, seed), 2 * normal(4, size, seed=seed)
    torch.testing.assert_close(flow.inverse(flow(z)[0]), z, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(flow(flow.inverse(z))[0], z, rtol=1e-8, atol=1e-8)


@FEW
@given(st.integers(1, 20), SEEDS)
def test_two_steps_move_every_entry_once(size, seed):
    first, second = (step.mask for step in flow_of(size, 2, seed).steps)
    assert torch.equal(first, ~second)
    assert int(first.sum()) == size // 2


def test_masks_are_constants_of_the_state():
    flow, other = flow_of(6, 4, seed=1), flow_of(6, 4, seed=2)
    assert not torch.equal(flow.steps[2].mask, other.steps[2].mask)
    other.load_state_dict(flow.state_dict())
    z = normal(5, 6)
    for _ in range(2):
        assert torch.equal(flow(z)[0], other(z)[0])


def test_without_steps_it_is_the_identity():
    z = normal(3, 4)
    found, log_determinants = flow_of(4, 0, seed=0)(z)
    assert torch.equal(found, z)
    assert torch.equal(log_determinants, torch.zeros(3, dtype=torch.float64))


def test_it_starts_with_what_lies_at_its_centre_nearly_there():
    torch.manual_seed(0)
    centre = torch.linspace(0.5, 3, 40)
    moved = MaskedFlow(centre, 4, 50)(centre.repeat(20, 1))[0] - centre
    assert float(moved.detach().abs().mean()) < 0.1


@FEW
@given(SIZES, STEPS, SEEDS)
def test_the_density_is_that_of_what_the_noise_becomes(size, steps, seed):
    torch.manual_seed(seed)
    density = randomised(FlowDensity(torch.ones(size), -1.0, steps, 5), seed, spread=0.7)
    noise = normal(3, size, seed=seed)
    standard = torch.distributions.Normal(torch.zeros(size, dtype=torch.float64), 1.0)
    for row, value in zip(noise, density(noise)[1], strict=True):
        at_noise = standard.log_prob(row).sum()
        torch.testing.assert_close(value, at_noise - log_determinant(lambda one: density(one[None])[0][0], row))


def test_the_density_of_two_entries_integrates_to_one():
    torch.manual_seed(0)
    density = randomised(FlowDensity(torch.ones(2), 0.0, 3, 5), 3, spread=0.4)
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    noise = (density.flow.inverse(grid) - density.mean) / (density.log_variance / 2).exp()
    values, log_densities = density(noise)
    torch.testing.assert_close(values, grid)
    assert float(log_densities.exp().sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=1e-5)


def test_without_steps_the_density_is_a_normal_one():
    density = FlowDensity(torch.tensor([1.0, -2.0]), -1.0, 0, 5).double()
    with torch.no_grad():
        values, log_densities = density(normal(4, 2))
    wanted = torch.distributions.Normal(density.mean, (density.log_variance / 2).exp()).log_prob(values).sum(1)
    torch.testing.assert_close(log_densities, wanted.detach())


@FEW
@given(SEEDS)
def test_normal_log_densities(seed):
    x, mean, log_variance = normal(3, 3, 4, seed=seed)
    wanted = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(x).sum(1)
    torch.testing.assert_close(normal_log_density(x, mean, log_variance), wanted)


def test_every_parameter_of_a_flow_gets_a_gradient():
    torch.manual_seed(0)
    density = FlowDensity(torch.ones(4), -1.0, 2, 5)
    values, log_densities = density(normal(8, 4).float())
    (values.square().sum() + log_densities.sum()).backward()
    assert all(bool((parameter.grad != 0).any()) for parameter in density.parameters())
