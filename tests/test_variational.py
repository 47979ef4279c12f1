"""Variational inference as a case of Eq. 1, against a model whose evidence and posterior are known."""

import json
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import hyperframe as hf
from hyperframe.bound import departures
from hyperframe.config import load_config
from hyperframe.errors import ConfigError, HyperframeWarning
from hyperframe.experiment import build_experiment
from hyperframe.formulas import Compromise, Variational
from hyperframe.gauge import ComposedGauge
from hyperframe.gaussian_regression import GaussianRegressionTask
from hyperframe.objective import Objective, WeightedTerm
from hyperframe.priors import log_prior
from hyperframe.target import Target
from hyperframe.types import Data

INPUTS, ITEMS, NOISE, PRIOR_STD = 3, 12, 0.5, 1.3
WEIGHTS = INPUTS + 1


class LinearGaussian:
    """y = w·x + b + noise with normal weights: evidence, posterior and divergence in closed form."""

    def __init__(self, seed):
        draw = torch.Generator().manual_seed(seed)
        self.x = torch.randn(ITEMS, INPUTS, generator=draw, dtype=torch.float64)
        self.y = torch.randn(ITEMS, 1, generator=draw, dtype=torch.float64)
        self.features = torch.cat([self.x, torch.ones(ITEMS, 1, dtype=torch.float64)], 1)
        precision = self.features.T @ self.features / NOISE**2 + torch.eye(WEIGHTS, dtype=torch.float64) / PRIOR_STD**2
        self.covariance = torch.linalg.inv(precision)
        self.mean = self.covariance @ (self.features.T @ self.y[:, 0]) / NOISE**2

    @property
    def log_evidence(self):
        eye = torch.eye(ITEMS, dtype=torch.float64)
        marginal = NOISE**2 * eye + PRIOR_STD**2 * self.features @ self.features.T
        zero = torch.zeros(ITEMS, dtype=torch.float64)
        return float(torch.distributions.MultivariateNormal(zero, marginal).log_prob(self.y[:, 0]))

    def divergence(self, mean, factor):
        q = torch.distributions.MultivariateNormal(mean, factor @ factor.T)
        posterior = torch.distributions.MultivariateNormal(self.mean, self.covariance)
        return float(torch.distributions.kl_divergence(q, posterior))


def linear_experiment(registry, entropy="manifold_entropy"):
    """A linear target whose weights a linear generator makes of a normal z: q is normal, with any covariance."""
    settings = {
        "task": "diabetes",
        "target": {"name": "mlp", "input_shape": [INPUTS], "hidden": [], "outputs": 1},
        "generator": {
            "name": "mlp",
            "latent": WEIGHTS,
            "latent_distribution": "normal",
            "hidden": [],
            "bias": True,
        },
        "gauges": [],
        "entropy": {"name": "kozachenko_leonenko", "constants": True},
        "diversity": [entropy],
        "objective": {"name": "vi", "prior_std": PRIOR_STD},
        "trainer.device": "cpu",
    }
    config = load_config("digits", settings, registry)
    module, spec = config.target.make()
    target = Target(module, spec).to("cpu", torch.float64)
    task = GaussianRegressionTask(NOISE, torch.zeros(1), torch.ones(1))
    task.name, task.input_shape = "line", (INPUTS,)
    generator = config.generator.make(target.spec, task).double()
    estimator = config.entropy.make()
    choice = config.diversity[0]
    objective = Objective(
        config.objective,
        target=target,
        task=task,
        gauge=ComposedGauge({}),
        directions=WEIGHTS,
        terms=[WeightedTerm(name=choice.name, term=choice.make(estimator), weight=1.0)],
        chunk=4,
    )
    return config, generator, objective


def set_q(generator, mean, factor):
    linear = generator.dense.linears[0]
    linear.weight.data, linear.bias.data = factor.clone(), mean.clone()


def variational_loss(generator, objective, model, z):
    data = Data(model.x.expand(len(z), -1, -1), model.y.expand(len(z), -1, -1))
    weight = objective.formula.accuracy_weight(0, 1, items=ITEMS)
    return float(objective.gradients(generator, z, data, torch.Generator(), accuracy_weight=weight)["loss"])


def sigma_points():
    """Points with the mean and the covariance of a unit normal: means of quadratic functions are exact."""
    ends = math.sqrt(WEIGHTS) * torch.eye(WEIGHTS, dtype=torch.float64)
    return torch.cat([ends, -ends])


@pytest.mark.parametrize("seed", range(3))
def test_at_the_posterior_the_loss_is_the_negative_log_evidence(registry, seed):
    model, (_, generator, objective) = LinearGaussian(seed), linear_experiment(registry)
    set_q(generator, model.mean, torch.linalg.cholesky(model.covariance))
    assert variational_loss(generator, objective, model, sigma_points()) == pytest.approx(
        -model.log_evidence, rel=1e-10
    )
    for parameter in generator.parameters():
        assert float(parameter.grad.abs().max()) < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_elsewhere_it_is_larger_by_the_divergence_from_the_posterior(registry, seed):
    model, (_, generator, objective) = LinearGaussian(seed), linear_experiment(registry)
    draw = torch.Generator().manual_seed(seed)
    mean = torch.randn(WEIGHTS, generator=draw, dtype=torch.float64)
    factor = torch.randn(WEIGHTS, WEIGHTS, generator=draw, dtype=torch.float64).tril()
    factor.diagonal().abs_().add_(0.1)
    set_q(generator, mean, factor)
    found = variational_loss(generator, objective, model, sigma_points())
    assert found == pytest.approx(-model.log_evidence + model.divergence(mean, factor), rel=1e-10)


def test_descent_finds_the_posterior(registry):
    model, (_, generator, objective) = LinearGaussian(0), linear_experiment(registry)
    set_q(generator, torch.zeros(WEIGHTS, dtype=torch.float64), torch.eye(WEIGHTS, dtype=torch.float64))
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.03)
    for _ in range(300):
        optimiser.zero_grad()
        found = variational_loss(generator, objective, model, sigma_points())
        optimiser.step()
    linear = generator.dense.linears[0]
    assert found == pytest.approx(-model.log_evidence, abs=0.01)
    torch.testing.assert_close(linear.bias.detach(), model.mean, rtol=0.02, atol=0.02)
    covariance = (linear.weight @ linear.weight.T).detach()
    torch.testing.assert_close(covariance, model.covariance, rtol=0.05, atol=0.005)


def test_with_neighbours_for_the_entropy_it_agrees_within_their_error(registry):
    """1,000 draws; the estimate of H alone has an error of some hundredths of a nat."""
    model, (_, generator, objective) = LinearGaussian(1), linear_experiment(registry, "weight_entropy")
    set_q(generator, model.mean, torch.linalg.cholesky(model.covariance))
    z = torch.randn(1000, WEIGHTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert variational_loss(generator, objective, model, z) == pytest.approx(-model.log_evidence, abs=0.25)


@given(std=st.floats(0.1, 5), narrow=st.floats(0.05, 0.9), part=st.floats(0.1, 0.9))
def test_priors_are_densities_with_the_standard_deviation_that_they_name(std, narrow, part):
    at = torch.linspace(-40 * std, 40 * std, 80_001, dtype=torch.float64)
    for name, variance in (
        ("gaussian", std**2),
        ("laplace", std**2),
        ("scale_mixture", (1 - part) * std**2 + part * (narrow * std) ** 2),
    ):
        density = log_prior(at, name, std=std, narrow_std=narrow * std, narrow_part=part).exp()
        assert float(torch.trapezoid(density, at)) == pytest.approx(1, rel=1e-4)
        assert float(torch.trapezoid(density * at.square(), at)) == pytest.approx(variance, rel=1e-3)


@given(weights=st.integers(1, 5), networks=st.integers(1, 4))
def test_costs_are_means_over_networks(weights, networks):
    theta = torch.randn(networks, weights, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    split = {"one": theta, "two": 2 * theta}
    rows = torch.cat([theta.flatten(1), 2 * theta.flatten(1)], 1)
    squares = float(rows.square().sum(1).mean())
    assert float(Compromise(weight_l2=0.3).cost(split)) == pytest.approx(0.3 * squares, rel=1e-12)
    assert Compromise().cost(split) is None
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(2.0).double())
    expected = -float(normal.log_prob(rows).sum(1).mean())
    assert float(Variational(prior_std=2).cost(split)) == pytest.approx(expected, rel=1e-12)
    assert float(Variational(prior="flat").cost(split)) == 0


def test_lambda_rises_geometrically_and_stays():
    rising = Compromise(lambda_=1000.0, lambda_start=1.0, lambda_part=0.3)
    found = [rising.accuracy_weight(step, 100, 1) for step in range(100)]
    assert found[0] == 1
    assert found[10] == pytest.approx(10)
    assert found[30:] == [pytest.approx(1000)] * 70
    assert all(later >= earlier for earlier, later in pairwise(found))


def test_one_key_switches_the_objective(registry):
    config = load_config("digits", ["objective=vi", "objective.prior=laplace"], registry)
    assert config.objective == Variational(prior="laplace")
    assert config.plain()["objective"]["name"] == "vi"
    back = load_config("digits", ["objective.prior_std=2", "objective=vi"], registry)
    assert back.objective == Variational(prior_std=2.0)
    assert load_config("digits", ["objective.weight_l2=1"], registry).objective == Compromise(weight_l2=1.0)
    assert load_config("digits", {"objective": {"lambda": 3}}, registry).objective == Compromise(lambda_=3.0)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective=elbo"], "objective: unknown formula 'elbo'"),
        (["objective=vi", "objective.lambda=3"], "objective: unknown key 'lambda'"),
        (["objective=vi", "objective.prior=cauchy"], "objective.prior: expected one of flat, gaussian"),
        (["objective.lambda_start=0"], "objective.lambda_start: expected a number or null, above 0"),
        (["objective.lambda_start=1", "objective.lambda=0"], "λ cannot go to a lambda of 0"),
    ],
)
def test_wrong_objectives_are_named(registry, overrides, words):
    with pytest.raises(ConfigError, match=words):
        load_config("digits", overrides, registry)


def test_a_run_says_whether_its_loss_is_the_bound(small, tmp_path):
    with pytest.warns(HyperframeWarning, match="no bound of the evidence") as warned:
        run = small(tmp_path / "gauged", objective="vi", trainer__steps=2)
    text = " ".join(str(warning.message) for warning in warned)
    for word in ("gauges=[]", "entropy.constants=true", "64 dimensions", "generator.batch_norm=false"):
        assert word in text
    found = json.loads((run.folder / "provenance.json").read_text())["bound"]
    assert not found["holds"]
    assert len(found["departures"]) == 4


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["diversity=[weight_entropy]", "entropy=renyi"], "'renyi' does not estimate Shannon's entropy"),
        (["diversity=[weight_entropy]", "entropy=gaussian"], "'gaussian' does not estimate Shannon's entropy"),
        (["diversity=[weight_entropy]"], "entropy.constants=true"),
        (["diversity=[weight_entropy]", "entropy.constants=true", "entropy.dimension=3"], "entropy.dimension=null"),
        (["diversity.0.exact_up_to=0"], "the determinant is probed"),
        (["diversity.0.weight=2"], "2 · manifold_entropy"),
        (["generator.hidden=[8]"], "the generator's draws have 8 dimensions and the weights 97"),
        (["generator.hidden=[128]", "generator.batch_norm=true"], "generator.batch_norm=false"),
        (["objective.trust=0.5"], "trust=0.5 tempers"),
        (["objective.prior=flat"], "the prior is flat"),
        (["gauges=[scale]"], "gauges (scale)"),
    ],
)
def test_what_keeps_a_loss_from_being_the_bound(registry, overrides, word):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu", *overrides], registry))
    found = departures(built)
    assert len(found) == 1
    assert word in found[0]


def test_a_resumed_run_says_it_of_what_it_has_become(tmp_path):
    settings = {"trainer.steps": 4, "trainer.device": "cpu", "evaluation.networks": 3, "trainer.stop_after": 2}
    hf.train("diabetes", settings, out=tmp_path / "run")
    with pytest.warns(HyperframeWarning):
        hf.resume(tmp_path / "run", {"objective.trust": 0.5})
    found = json.loads((tmp_path / "run" / "provenance.json").read_text())["bound"]
    assert not found["holds"]
    assert "trust=0.5" in found["departures"][0]


def test_the_shipped_regression_is_the_bound(tmp_path):
    settings = {"trainer.steps": 3, "trainer.device": "cpu", "evaluation.networks": 3, "evaluation.test_networks": 4}
    run = hf.train("diabetes", settings, out=tmp_path / "run")
    found = json.loads((run.folder / "provenance.json").read_text())["bound"]
    assert found == {"holds": True, "departures": []}
    figures = run.evaluate(4)
    assert {"rmse", "nll"} <= set(figures)


def test_other_objectives_say_nothing_of_a_bound(small, tmp_path):
    run = small(tmp_path / "run", trainer__steps=2)
    assert "bound" not in json.loads((run.folder / "provenance.json").read_text())


def test_the_configured_weight_of_accuracy_is_the_number_of_training_items(registry):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu"], registry))
    items = len(built.task.data("train"))
    assert built.objective.formula.accuracy_weight(5, 10, items) == items == 310
