"""Variational inference as a case of Eq. 1, against a model whose evidence and posterior are known."""

import json
import math
from itertools import pairwise

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.builtin.diversities.weight_entropy import Options, WeightEntropy
from hyperframe.builtin.objectives import trade_off, vi
from hyperframe.builtin.objectives.trade_off import TradeOff
from hyperframe.builtin.objectives.vi import VariationalInference
from hyperframe.builtin.objectives.vi.priors import log_prior
from hyperframe.config.schema import load_config
from hyperframe.errors import ConfigError, HyperframeWarning, PluginError
from hyperframe.experiment.bound import departures
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.targets import traced_target
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.networks.target import Target
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.tracing.tracer import trace
from hyperframe.tasks.gaussian_regression import GaussianRegressionTask
from hyperframe.types import Data

INPUTS, EXAMPLES, NOISE, PRIOR_STD = 3, 12, 0.5, 1.3
WEIGHTS = INPUTS + 1


class LinearGaussian:
    """y = w·x + b + noise with normal weights: evidence, posterior and divergence in closed form."""

    def __init__(self, seed):
        draw = torch.Generator().manual_seed(seed)
        self.x = torch.randn(EXAMPLES, INPUTS, generator=draw, dtype=torch.float64)
        self.y = torch.randn(EXAMPLES, 1, generator=draw, dtype=torch.float64)
        self.features = torch.cat([self.x, torch.ones(EXAMPLES, 1, dtype=torch.float64)], 1)
        precision = self.features.T @ self.features / NOISE**2 + torch.eye(WEIGHTS, dtype=torch.float64) / PRIOR_STD**2
        self.covariance = torch.linalg.inv(precision)
        self.mean = self.covariance @ (self.features.T @ self.y[:, 0]) / NOISE**2

    @property
    def log_evidence(self):
        eye = torch.eye(EXAMPLES, dtype=torch.float64)
        marginal = NOISE**2 * eye + PRIOR_STD**2 * self.features @ self.features.T
        zero = torch.zeros(EXAMPLES, dtype=torch.float64)
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
    config = load_config("digits_hypernetwork", settings, registry)
    module, spec = config.target.make()
    target = Target(module, spec).to("cpu", torch.float64)
    task = GaussianRegressionTask(NOISE, torch.zeros(1), torch.ones(1))
    task.name, task.input_shape = "line", (INPUTS,)
    generator = config.generator.make(target.spec, task).double()
    estimator = config.entropy.make()
    choice = config.diversity[0]
    objective = BatchLoss(
        config.objective.make(),
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
    weight = objective.objective.accuracy_weight(0, 1, examples=EXAMPLES)
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


@pytest.mark.slow
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
    assert float(TradeOff(trade_off.Options(weight_l2=0.3)).cost(split)) == pytest.approx(0.3 * squares, rel=1e-12)
    assert TradeOff(trade_off.Options()).cost(split) is None
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(2.0).double())
    expected = -float(normal.log_prob(rows).sum(1).mean())
    assert float(VariationalInference(vi.Options(prior_std=2)).cost(split)) == pytest.approx(expected, rel=1e-12)
    assert float(VariationalInference(vi.Options(prior="flat")).cost(split)) == 0


def test_lambda_rises_geometrically_and_stays():
    rising = TradeOff(trade_off.Options(lambda_=1000.0, lambda_start=1.0, lambda_part=0.3))
    found = [rising.accuracy_weight(step, 100, 1) for step in range(100)]
    assert found[0] == 1
    assert found[10] == pytest.approx(10)
    assert found[30:] == [pytest.approx(1000)] * 70
    assert all(later >= earlier for earlier, later in pairwise(found))


def test_one_key_switches_the_objective(registry):
    config = load_config("digits_hypernetwork", ["objective=vi", "objective.prior=laplace"], registry)
    assert config.objective.options == vi.Options(prior="laplace")
    assert config.plain()["objective"]["name"] == "vi"
    back = load_config("digits_hypernetwork", ["objective.prior_std=2", "objective=vi"], registry)
    assert back.objective.options == vi.Options(prior_std=2.0)
    assert load_config(
        "digits_hypernetwork", ["objective.weight_l2=1"], registry
    ).objective.options == trade_off.Options(weight_l2=1.0)
    assert load_config(
        "digits_hypernetwork", {"objective": {"lambda": 3}}, registry
    ).objective.options == trade_off.Options(lambda_=3.0)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective=elbo"], "unknown objective 'elbo'. Known: trade_off"),
        (["objective=vi", "objective.lambda=3"], "objective: unknown key 'lambda'"),
        (["objective=vi", "objective.prior=cauchy"], "objective.prior: expected one of flat, gaussian"),
        (["objective.lambda_start=0"], "objective.lambda_start: expected a number or null, above 0"),
        (["objective.lambda_start=1", "objective.lambda=0"], "λ cannot go to a lambda of 0"),
    ],
)
def test_wrong_objectives_are_named(registry, overrides, words):
    with pytest.raises((ConfigError, PluginError), match=words):
        load_config("digits_hypernetwork", overrides, registry)


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
        (["diversity=[weight_entropy]", "entropy.constants=true", "entropy.coordinates=5"], "sees 5 of 97 entries"),
        (["diversity=[weight_entropy]", "entropy.constants=true", "entropy.coordinates=97"], "an error of either sign"),
        (["diversity=[weight_entropy]", "entropy.constants=true", "entropy.distance=l1"], "an error of either sign"),
        (["diversity=[weight_entropy]", "entropy.constants=true", "entropy.subset=5"], "an error of either sign"),
        (["diversity.0.exact_up_to=0"], "the determinant is probed"),
        (["diversity.0.exact_up_to=96"], "the determinant is probed"),
        (["diversity.0.weight=2"], "2 · manifold_entropy"),
        (["diversity=[variance]"], "1 · variance, not one that is the negative entropy"),
        (["diversity=[none]"], "1 · none"),
        (["diversity=[manifold_entropy,variance]", "diversity.0.exact_up_to=97"], "1 · manifold_entropy, 1 · variance"),
        (["generator.hidden=[8]"], "makes draws of 8 dimensions, and the weights have 97"),
        (["generator.hidden=[97]", "generator.batch_norm=true"], "generator.batch_norm=false"),
        (["generator.hidden=[128]"], "several z may give the same weights"),
        (["generator.hidden=[97]", "generator.activation=silu"], "several z may give the same weights"),
        (["generator.hidden=[97]", "generator.activation=relu"], "several z may give the same weights"),
        (["generator.hidden=[97]", "generator.slope=0"], "several z may give the same weights"),
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


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["generator.hidden=[97]"],
        ["generator.hidden=[97,97]", "generator.activation=tanh", "generator.bias=true"],
        ["objective.prior=laplace"],
        ["diversity=[manifold_entropy,variance]", "diversity.0.exact_up_to=97", "diversity.1.weight=0"],
        ["entropy=renyi"],
        ["entropy.coordinates=3"],
        ["trainer.gradient_clip=1", "trainer.batch_size=1"],
    ],
)
def test_where_the_loss_is_the_bound_nothing_is_named(registry, overrides):
    assert departures(build_experiment(load_config("diabetes", ["trainer.device=cpu", *overrides], registry))) == []


def test_networks_that_are_held_are_no_density(registry):
    overrides = ["generator=direct", "trainer.networks=8", "diversity=[weight_entropy]", "entropy.constants=true"]
    found = departures(build_experiment(load_config("diabetes", ["trainer.device=cpu", *overrides], registry)))
    assert [reason for reason in found if "sign" not in reason] == [
        "generator 'direct' holds 8 networks: q is no density"
    ]


def test_moved_training_images_are_named(registry):
    settings = ["trainer.device=cpu", "objective=vi", "gauges=[]"]
    for option in ("rotation=5", "shear=5", "zoom=0.1", "translation=1"):
        found = departures(
            build_experiment(load_config("digits_hypernetwork", [*settings, f"task.{option}"], registry))
        )
        assert any("task 'digits' changes training inputs at random" in reason for reason in found)
    built = build_experiment(load_config("digits_hypernetwork", settings, registry))
    built.task.augment = lambda x, rng: torch.where(torch.rand(len(x), 1, 1, 1, generator=rng) < 0.01, x.flip(-1), x)
    assert any("task 'digits' changes training inputs at random" in reason for reason in departures(built))
    found = departures(build_experiment(load_config("digits_hypernetwork", settings, registry)))
    assert not any("task" in reason or "target" in reason for reason in found)


class Scaled(nn.Module):
    """A network that changes its features in training mode in a given way."""

    def __init__(self, inside):
        super().__init__()
        self.first, self.inside, self.last = nn.Linear(10, 6), inside, nn.Linear(6, 1)

    def forward(self, x):
        return self.last(self.inside(self.first(x)).relu())


class Kept(nn.BatchNorm1d):
    """A batch normalisation that stays in evaluation mode, as in a network that is fine-tuned."""

    def train(self, mode=True):
        return super().train(False)


class Functional(nn.Module):
    """Dropout and batch statistics without a module of torch's for them."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x, self.training)


def coupled_by_the_mean(x, training):
    return x - x.mean(0, keepdim=True) if training else x


def noisy(x, training):
    return x + 0.1 * torch.randn_like(x) if training else x


def by_numpy(x, training):
    return x * np.random.uniform(0.5, 1.5) if training else x


COUPLED, NOISY = "depend on the others of its batch", "draws random numbers"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inside", "named"),
    [
        (nn.BatchNorm1d(6), {COUPLED}),
        (nn.BatchNorm1d(6, track_running_stats=False), {COUPLED}),
        (nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.1)), {COUPLED, NOISY}),
        (Functional(coupled_by_the_mean), {COUPLED}),
        (nn.Dropout(0.01), {NOISY}),
        (nn.AlphaDropout(0.1), {NOISY}),
        (Functional(noisy), {NOISY}),
        (Functional(by_numpy), {NOISY}),
        (nn.Dropout(0.0), set()),
        (Kept(6), set()),
        (nn.LayerNorm(6), set()),
        (nn.GroupNorm(2, 6), set()),
        (nn.Tanh(), set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_target_that_draws_random_numbers_in_training_is_named(registry, inside, named):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu"], registry))
    target = traced_target(trace(Scaled(inside), (10,), "scaled"))
    found = departures(attrs.evolve(built, target=target))
    assert {word for reason in found for word in (COUPLED, NOISY) if word in reason} == named
    assert len(found) == len(named)


@pytest.mark.slow
def test_one_item_at_a_time_depends_on_no_other(registry):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu", "trainer.batch_size=1"], registry))
    target = traced_target(trace(Scaled(Functional(coupled_by_the_mean)), (10,), "scaled"))
    assert departures(attrs.evolve(built, target=target)) == []


class Own(hf.types.EntropyEstimator):
    """A third party's estimator with departures of its own."""

    minimum_samples = 2

    def __init__(self, says=None):
        if says is not None:
            self.departures = lambda entries, dimension: says

    def __call__(self, samples, dimension, rng=None):
        return samples.var()


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (None, ["the estimator Own does not say that it estimates Shannon's entropy of any q"]),
        ([], []),
        (["it guesses"], ["it guesses"]),
    ],
)
def test_components_of_others_answer_for_themselves(registry, says, expected):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu"], registry))
    built.loss.terms = [WeightedTerm(name="own", term=WeightEntropy(Options(), Own(says)), weight=1.0)]
    assert departures(built) == expected


def test_the_entropy_of_directions_is_not_that_of_the_weights(registry):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu"], registry))
    term = WeightEntropy(Options(unit_norm=True), Own([]))
    built.loss.terms = [WeightedTerm(name="own", term=term, weight=1.0)]
    assert departures(built) == ["weight_entropy takes weights of norm one: set its unit_norm=false"]


def test_a_generator_with_a_penalty_or_noise_of_its_own_is_named(registry):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu"], registry))
    plain = type(built.generator)

    class Penalised(plain):
        def penalty(self, z, weights):
            return z.square().mean()

    class Noisy(plain):
        def forward(self, z):
            return super().forward(z + 0.1 * torch.randn_like(z) if self.training else z)

    for kind, words in ((Penalised, "adds a penalty of its own"), (Noisy, "draws random numbers beside z")):
        built.generator.__class__ = kind
        (reason,) = departures(built)
        assert words in reason


def test_asking_whether_the_loss_is_the_bound_changes_no_state(registry):
    overrides = ["trainer.device=cpu", "generator.hidden=[97]", "generator.batch_norm=true"]
    built = build_experiment(load_config("diabetes", overrides, registry))
    state = {name: value.clone() for name, value in built.generator.state_dict().items()}
    numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    departures(built)
    assert torch.equal(torch.get_rng_state(), numbers[0])
    assert (np.random.get_state()[1] == numbers[1]).all()
    assert all(torch.equal(state[name], value) for name, value in built.generator.state_dict().items())


@pytest.mark.slow
def test_a_resumed_run_with_other_options_says_whether_its_loss_is_the_bound(tmp_path):
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
    results = run.evaluate(4)
    assert {"rmse", "nll"} <= set(results)


@pytest.mark.slow
def test_other_objectives_say_nothing_of_a_bound(small, tmp_path):
    run = small(tmp_path / "run", trainer__steps=2)
    assert "bound" not in json.loads((run.folder / "provenance.json").read_text())


def test_the_configured_weight_of_accuracy_is_the_number_of_training_items(registry):
    built = build_experiment(load_config("diabetes", ["trainer.device=cpu"], registry))
    examples = len(built.task.data("train"))
    assert built.loss.objective.accuracy_weight(5, 10, examples) == examples == 310
