"""The chunked gradient is the gradient of Eq. 1."""

import attrs
import pytest
import torch

from hyperframe.builtin.objectives.trade_off import Options, TradeOff
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.networks.generator import Generator
from hyperframe.targets.weights import flatten
from hyperframe.types import Data, DiversityTerm


@pytest.fixture
def experiment(registry):
    settings = ["trainer.device=cpu", "target.channels=[2,3]", "generator.batch_norm=false"]
    built = build_experiment(load_config("digits_hypernetwork", settings, registry))
    built.generator.double()
    built.target.to("cpu", torch.float64)
    return built


def batch(networks, images):
    draw = torch.Generator().manual_seed(3)
    x = torch.rand(networks, images, 1, 8, 8, generator=draw, dtype=torch.float64)
    return Data(x, torch.randint(10, (networks, images), generator=draw))


def objective(experiment, chunk, **options):
    source = experiment.loss
    return BatchLoss(
        TradeOff(Options(**options)),
        target=experiment.target,
        task=experiment.task,
        gauge=experiment.gauge,
        directions=source.directions,
        terms=[WeightedTerm(name="weight_entropy", term=source.terms[0].term, weight=0.7)],
        chunk=chunk,
    )


def one_step(of, generator, z, data, shared=None):
    weight = of.objective.accuracy_weight(0, 1, 1)
    return of.gradients(generator, z, data, torch.Generator(), accuracy_weight=weight, shared=shared)


def whole_loss(experiment, z, data, weight, **options):
    """Eq. 1 without chunks and without a cut in the graph."""
    weights = experiment.generator(z)
    outputs = torch.stack(
        [
            torch.func.functional_call(
                experiment.target.module,
                {name: value[i] for name, value in unpacked(experiment, weights).items()},
                (data.x[i],),
            )
            for i in range(len(z))
        ]
    )
    accuracy = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), data.y.flatten())
    flat = flatten(experiment.target.spec, experiment.gauge(weights))
    entropy = experiment.estimator(flat, experiment.generator.dimension)
    squares = sum(value.square().sum() for value in weights.values()) / len(z)
    return options["lambda_"] * accuracy + options["weight_l2"] * squares - weight * entropy


def unpacked(experiment, weights):
    from hyperframe.targets.weights import unpack

    return unpack(experiment.target.spec, weights)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8])
def test_gradient_of_the_whole_loss(experiment, chunk):
    options = {"lambda_": 30.0, "weight_l2": 0.01}
    z = experiment.generator.latent(5, torch.Generator().manual_seed(0))
    data = batch(5, 4)
    loss = whole_loss(experiment, z, data, 0.7, **options)
    wanted = torch.autograd.grad(loss, list(experiment.generator.parameters()))
    metrics = one_step(objective(experiment, chunk, **options), experiment.generator, z, data)
    assert float(metrics["loss"]) == pytest.approx(float(loss.detach()), rel=1e-12)
    for parameter, expected in zip(experiment.generator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-10)


def test_a_generators_own_penalty_counts(experiment):
    class Penalised(Generator):
        def __init__(self, inner):
            super().__init__(inner.spec, inner.dimension)
            self.inner = inner
            self.own = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

        def forward(self, z):
            return self.inner(z)

        def penalty(self, z, weights):
            return self.own**2 + sum(value.sum() for value in weights.values())

    z = experiment.generator.latent(5, torch.Generator().manual_seed(0))
    weights = experiment.generator(z)
    total = sum(value.sum() for value in weights.values())
    wanted = torch.autograd.grad(total, list(experiment.generator.parameters()))
    penalised = Penalised(experiment.generator)
    silent = objective(experiment, 2, lambda_=0.0, weight_l2=0.0)
    silent.terms = []
    metrics = one_step(silent, penalised, z, batch(5, 4))
    assert float(penalised.own.grad) == 4.0
    assert float(metrics["penalty"]) == pytest.approx(float(4 + total.detach()), rel=1e-12)
    for parameter, expected in zip(experiment.generator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-10)


def test_terms_get_what_they_need_and_only_that(experiment):
    seen = {}

    @attrs.define
    class Curious(DiversityTerm):
        needs: frozenset

        def __call__(self, inputs):
            seen.update(attrs.asdict(inputs, recurse=False))
            return torch.zeros((), dtype=torch.float64)

    for needs in (frozenset(), frozenset({"z"}), frozenset({"weights", "rng"}), frozenset({"flat"})):
        curious = objective(experiment, 2)
        curious.terms = [WeightedTerm(name="curious", term=Curious(needs), weight=1.0)]
        z = experiment.generator.latent(5, torch.Generator().manual_seed(0))
        one_step(curious, experiment.generator, z, batch(5, 2))
        assert {name for name, value in seen.items() if value is not None} == needs | {"dimension", "directions"}


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_an_example_counts_for_a_network_what_the_objective_says(experiment, chunk):
    """The gradient is that of the weighted mean; what the metrics say is weighted alike."""
    z, data = experiment.generator.latent(5, torch.Generator().manual_seed(0)), batch(5, 4)
    counts = torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = unpacked(experiment, experiment.generator(z))
    each = [{name: value[i] for name, value in weights.items()} for i in range(5)]
    module = experiment.target.module
    outputs = torch.stack([torch.func.functional_call(module, one, (data.x[i],)) for i, one in enumerate(each)])
    losses = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), data.y.flatten(), reduction="none").view(5, 4)
    wanted = torch.autograd.grad((counts * losses).mean(), list(experiment.generator.parameters()))
    weighted = objective(experiment, chunk, lambda_=1.0)
    weighted.terms = []
    rng = torch.Generator()
    metrics = weighted.gradients(experiment.generator, z, data, rng, accuracy_weight=1.0, example_weights=counts)
    assert float(metrics["accuracy_loss"]) == pytest.approx(float((counts * losses).mean().detach()), rel=1e-12)
    for parameter, expected in zip(experiment.generator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-10)
    assert weighted.evaluations == 20


def test_chunks_are_of_networks_never_of_images(experiment):
    sizes = []
    run = experiment.target.run

    def spy(unpacked, x, **options):
        sizes.append(tuple(x.shape[:2]))
        return run(unpacked, x, **options)

    experiment.target.run = spy
    z = experiment.generator.latent(5, torch.Generator().manual_seed(0))
    one_step(objective(experiment, 2), experiment.generator, z, batch(5, 7))
    assert sizes == [(2, 7), (2, 7), (1, 7)]


def test_a_term_reaches_the_generator_directly(experiment):
    class Direct(DiversityTerm):
        needs = frozenset({"generator", "weights"})

        def __call__(self, inputs):
            own = sum(parameter.square().sum() for parameter in inputs.generator.parameters())
            return own + sum(value.sum() for value in inputs.weights.values())

    z = experiment.generator.latent(5, torch.Generator().manual_seed(0))
    weights = experiment.generator(z)
    total = sum(value.sum() for value in weights.values())
    parameters = list(experiment.generator.parameters())
    total = total + sum(parameter.square().sum() for parameter in parameters)
    wanted = torch.autograd.grad(3 * total, parameters)
    direct = objective(experiment, 2, lambda_=0.0)
    direct.terms = [WeightedTerm(name="direct", term=Direct(), weight=3.0)]
    one_step(direct, experiment.generator, z, batch(5, 4))
    for parameter, expected in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-10)


def test_a_layer_that_is_not_trained_is_left_alone(experiment):
    class Partly(Generator):
        def __init__(self, inner):
            super().__init__(inner.spec, inner.dimension)
            self.inner = inner

        def forward(self, z):
            weights = self.inner(z)
            return weights | {"conv1": weights["conv1"].detach()}

    z = experiment.generator.latent(5, torch.Generator().manual_seed(0))
    one_step(objective(experiment, 2), Partly(experiment.generator), z, batch(5, 4))
    assert experiment.generator.weight_generators[0].linears[-1].weight.grad is None
    assert experiment.generator.weight_generators[1].linears[-1].weight.grad is not None
