"""Chains collect when they should, go on bit for bit, and draw from the distribution that they say."""

import math
from itertools import pairwise

import pytest
import torch
from hyperframe_baselines.chains import spaced
from hyperframe_baselines.sgld import Langevin
from hypothesis import given
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.errors import ConfigError

SMALL = {
    "target": "mlp",
    "target.hidden": [5],
    "generator.chains": 2,
    "generator.states": 4,
    "diversity": [],
    "trainer.networks": 2,
    "trainer.steps": 24,
    "trainer.rate": 1e-4,
    "trainer.schedule": "cyclic",
    "trainer.cycles": 4,
    "trainer.device": "cpu",
    "trainer.checkpoint_every": 6,
    "trainer.log_every": 6,
    "evaluation.every": 12,
    "evaluation.networks": 5,
    "evaluation.test_networks": 8,
}
CHAINS = ["sgld", "csgld", "sgd_chain", "snapshot"]
AT_BURNT_IN, AT_ENDS = [14, 17, 20, 23], [5, 11, 17, 23]
COLLECTED = {"sgld": AT_BURNT_IN, "sgd_chain": AT_BURNT_IN, "csgld": AT_ENDS, "snapshot": AT_ENDS}


class Watch(hf.Reporter):
    """Remembers where the chains were after every step, by a hook on what the trainer calls."""

    def started(self, run):
        generator, self.path = run.experiment.generator, {}
        before = generator.after_step

        def after_step(step, steps):
            self.path[step] = generator.points.detach().clone()
            before(step, steps)

        generator.after_step = after_step

    def logged(self, step, metrics):
        pass

    def validated(self, step, results):
        pass

    def paused(self, run, reason):
        pass


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5), st.integers(1, 30))
def test_steps_are_spaced_evenly(gaps, states):
    stages, at = [], 0
    for gap, length in gaps:
        stages.append(range(at + gap, at + gap + length))
        at += gap + length
    steps = [step for stage in stages for step in stage]
    found = spaced(stages, states)
    assert len(found) == min(states, len(steps))
    assert set(found) <= set(steps)
    assert found == sorted(set(found))
    if steps:
        places = [-1, *(steps.index(step) for step in found)]
        distances = {b - a for a, b in pairwise(places)}
        assert max(distances) - min(distances) <= 1
        assert found[-1] == steps[-1]


@pytest.mark.parametrize("name", CHAINS)
def test_states_are_those_of_the_steps_that_they_are_of(tmp_path, name):
    watch = Watch()
    run = hf.train("digits", {**SMALL, "generator": name}, out=tmp_path / "run", reporter=watch)
    generator = hf.load(run.folder, device="cpu").experiment.generator.eval()
    assert generator.networks == 8
    drawn = generator(generator.latent(8, torch.Generator()))
    there = torch.cat([watch.path[step] for step in COLLECTED[name]])
    assert torch.equal(hf.targets.flatten(generator.spec, drawn), there)
    assert len(run.sample(8)) == 8


@pytest.mark.parametrize("name", CHAINS)
def test_a_run_in_parts_is_the_unbroken_run_bit_for_bit(tmp_path, name):
    settings = {**SMALL, "generator": name}
    whole = hf.train("digits", settings, out=tmp_path / "whole").experiment.generator.state_dict()
    hf.train("digits", {**settings, "trainer.stop_after": 15}, out=tmp_path / "parts")
    torch.manual_seed(123)
    parts = hf.resume(tmp_path / "parts").experiment.generator.state_dict()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert int(whole["collected"]) == 4


def test_before_anything_is_collected_draws_are_the_chains(tmp_path):
    run = hf.train("digits", {**SMALL, "generator": "sgld", "trainer.stop_after": 6}, out=tmp_path / "run")
    generator = run.experiment.generator
    assert generator.networks == 2
    drawn = hf.targets.flatten(generator.spec, generator.eval()(torch.arange(2)))
    assert torch.equal(drawn, generator.points)


@pytest.mark.filterwarnings("ignore:from step .* the run is not, bit for bit")
def test_a_longer_training_replaces_states_and_leaves_no_place_empty(tmp_path):
    """Its first state would be the third of four, for which two are missing."""
    settings = {**SMALL, "generator": "sgld", "generator.burn_in": 0.5}
    hf.train("digits", {**settings, "trainer.steps": 1000, "trainer.stop_after": 18}, out=tmp_path / "run")
    run = hf.resume(tmp_path / "run", {"trainer.steps": 24})
    generator = run.experiment.generator
    assert generator.networks == 4
    assert bool((generator.get_buffer("states")[:2] != 0).any(-1).all())
    run = hf.resume(tmp_path / "run", {"trainer.steps": 60})
    assert run.experiment.generator.networks == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": "sgld", "trainer.average_tail": 0.5}, "trainer.average_tail=null"),
        ({"generator": "snapshot", "trainer.schedule": "constant"}, "trainer.schedule=cyclic"),
        ({"generator": "csgld", "trainer.schedule": "exponential"}, "trainer.schedule=cyclic"),
        ({"generator": "sgld", "trainer.networks": 3}, "trains 2 networks in every step"),
        ({"generator": "sgld", "trainer.cycles": 25}, "trainer.cycles is 25, but there are only trainer.steps=24"),
    ],
)
def test_what_does_not_suit_is_told_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        hf.train("digits", {**SMALL, **changes}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_cyclical_chain_has_noise_in_the_last_part_of_each_cycle_only(tmp_path, monkeypatch):
    temperatures = []
    step = Langevin.step

    def watched(self, closure=None):
        temperatures.append(self.param_groups[0]["temperature"])
        step(self, closure)

    monkeypatch.setattr(Langevin, "step", watched)
    settings = {**SMALL, "generator": "csgld", "generator.exploration": 0.5, "generator.temperature": 0.25}
    hf.train("digits", {**settings, "trainer.cycles": 3}, out=tmp_path / "run")
    assert temperatures == 3 * [*[0.0] * 4, *[0.25] * 4]


CURVATURE = torch.tensor([[4.0, 1.5], [1.5, 1.0]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -2.0], dtype=torch.float64)


def chain_of(temperature, rate, steps, chains=400, seed=0):
    """Run chains with U = (θ − m)ᵀ A (θ − m) / 2 for each, whose loss is the mean over them; return all states."""
    torch.manual_seed(seed)
    theta = torch.nn.Parameter(torch.zeros(chains, 2, dtype=torch.float64))
    optimizer = Langevin([{"params": [theta]}], rate, networks=chains, temperature=temperature)
    states = []
    for _ in range(steps):
        away = theta - MEAN
        optimizer.zero_grad()
        ((away @ CURVATURE * away).sum(1) / 2).mean().backward()
        optimizer.step()
        states.append(theta.detach().clone())
    return torch.stack(states[steps // 2 :])


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_a_gaussian_posterior_has_its_mean_and_covariance(temperature):
    """A linear recursion: its stationary covariance is T (A − ε A² / 2)⁻¹, which is T A⁻¹ as ε goes to 0."""
    rate, states = 0.1, chain_of(temperature, 0.1, 600).flatten(0, 1)
    expected = temperature * (CURVATURE - rate * CURVATURE @ CURVATURE / 2).inverse()
    # About 400 · 300 / 40 states are independent of each other.
    torch.testing.assert_close(states.mean(0), MEAN, rtol=0, atol=4 * math.sqrt(float(expected.max()) / 3000))
    torch.testing.assert_close(states.T.cov(), expected, rtol=0.08, atol=0.02)


class Line(hf.RegressionTask):
    """Twelve points of a noisy line."""

    name = "line"
    input_shape = (1,)
    num_outputs = 1

    def data(self, split):
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(12, 1, generator=rng)
        return hf.Data(x, 0.7 * x - 0.4 + torch.randn(12, 1, generator=rng) / math.sqrt(2))


@pytest.mark.filterwarnings("ignore:objective vi")
@pytest.mark.slow
def test_a_linear_regression_has_the_posterior_of_bayes_law(tmp_path):
    """The squared error is the potential of noise with variance 1/2; `vi` adds the prior; the training the rest."""
    settings = {
        **{key: value for key, value in SMALL.items() if not key.startswith(("target", "generator", "evaluation"))},
        "target": "mlp",
        "target.hidden": [],
        "generator": "sgld",
        "generator.chains": 300,
        "generator.states": 20,
        "generator.burn_in": 0.3,
        "objective": "vi",
        "objective.prior_std": 0.5,
        "gauges": [],
        "trainer.networks": 300,
        "trainer.batch_size": 256,
        "trainer.chunk": 300,
        "trainer.steps": 600,
        "trainer.schedule": "constant",
        "trainer.rate": 4e-3,
        "trainer.checkpoint_every": 600,
        "trainer.log_every": 600,
        "evaluation.every": 600,
        "trainer.seed": 1,
    }
    run = hf.train("digits", settings, data=Line(), out=tmp_path / "run")
    states = run.experiment.generator.get_buffer("states").flatten(0, 1).double()
    data = Line().data("train")
    inputs = torch.cat([data.x, torch.ones_like(data.x)], 1).double()
    covariance = (2 * inputs.T @ inputs + torch.eye(2, dtype=torch.float64) / 0.5**2).inverse()
    mean = covariance @ (2 * inputs.T @ data.y.double()[:, 0])
    torch.testing.assert_close(states.mean(0), mean, rtol=0, atol=0.1 * float(covariance.diag().min().sqrt()))
    scale = covariance.diag().rsqrt().diag()
    torch.testing.assert_close(scale @ states.T.cov() @ scale, scale @ covariance @ scale, rtol=0, atol=0.1)
