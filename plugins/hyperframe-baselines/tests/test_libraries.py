"""Generators give the numbers that a library of the same methods gives on the same small problem."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from hyperframe_baselines.mean_field import MeanField, Options
from hyperframe_baselines.sgld import Langevin
from torch import nn
from torch.distributions import Normal

from hyperframe.targets import LayerSpec, TargetSpec, bias, flatten, kernel

INPUTS, CLASSES, EXAMPLES, PRIOR_STD = 3, 4, 30, 0.7


@pytest.fixture(scope="module")
def posteriors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        return pytest.importorskip("posteriors")


@pytest.fixture
def problem():
    """A classification by one dense layer: its log-posterior as a function of the flat weights, and a batch."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, INPUTS, generator=rng, dtype=torch.float64)
    y = torch.randint(CLASSES, (EXAMPLES,), generator=rng)

    def log_posterior(flat, batch):
        rows = flat.view(CLASSES, INPUTS + 1)
        likelihood = -F.cross_entropy(batch[0] @ rows[:, :INPUTS].T + rows[:, INPUTS], batch[1], reduction="sum")
        return likelihood + Normal(0.0, PRIOR_STD).log_prob(flat).sum(), torch.zeros(())

    return log_posterior, (x, y)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_langevin_dynamics_takes_the_same_steps(posteriors, problem, temperature):
    log_posterior, batch = problem
    rate, start = 1e-3, torch.linspace(-1, 1, CLASSES * (INPUTS + 1), dtype=torch.float64)

    theirs = posteriors.sgmcmc.sgld.build(log_posterior, rate, temperature=temperature)
    state = theirs.init(start)
    torch.manual_seed(1)
    wanted = []
    for _ in range(20):
        state, _ = theirs.update(state, batch)
        wanted.append(state.params)

    chain = nn.Parameter(start.clone())
    own = Langevin([{"params": [chain]}], rate, networks=1, temperature=temperature)
    torch.manual_seed(1)
    found = []
    for _ in range(20):
        (-log_posterior(chain, batch)[0]).backward()
        own.step()
        own.zero_grad()
        found.append(chain.detach().clone())
    torch.testing.assert_close(torch.stack(found), torch.stack(wanted))
    assert (found[-1] - start).abs().max() > 1e-2


def test_the_variational_loss_is_theirs(posteriors, problem):
    log_posterior, batch = problem
    layer = LayerSpec(name="out", filters=CLASSES, params=[kernel("weight", "o i"), bias("bias")])
    spec = TargetSpec(name="dense", input_shape=(INPUTS,), num_outputs=CLASSES, logits="out", layers=[layer])
    torch.manual_seed(0)
    spec = spec.bind(nn.Linear(INPUTS, CLASSES))
    own = MeanField(Options(prior_std=PRIOR_STD, initial_std=0.2), spec).double()
    draws = 20_000
    torch.manual_seed(2)
    with torch.no_grad():
        wanted, _ = posteriors.vi.diag.nelbo(own.mean, own.std, batch, log_posterior, n_samples=draws, stl=False)
        rows = flatten(spec, own(own.latent(draws, torch.Generator().manual_seed(3)))).view(draws, CLASSES, -1)
        outputs = batch[0] @ rows[:, :, :INPUTS].mT + rows[:, None, :, INPUTS]
        losses = F.cross_entropy(outputs.flatten(0, 1), batch[1].repeat(draws), reduction="none").view(draws, -1)
        found = losses.sum(1).mean() + own.penalty(torch.empty(0), {})
    # Theirs is an estimate of the divergence too: log q − log p of 16 weights has a deviation of about 3 nats a draw.
    assert float(found) == pytest.approx(float(wanted), abs=5 * 3 * (2 / draws) ** 0.5)
