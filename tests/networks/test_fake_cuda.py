"""Every registered component on a CUDA device that is not there: nothing it computes with stays behind on the CPU.

Values are those of the CPU, and what a training step calls does not make the host wait. Gradients cannot be tried so,
nor CUDA's own random numbers: see `test_devices.py`, which a machine with a device runs.
"""

import copy
import inspect

import attrs
import numpy as np
import pytest
import torch
from components import NETWORKS, REGISTRY, make, of_kind, target_of
from PIL import Image
from pretended import Rng, cuda, move, value_of
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from hyperframe.builtin.diversities.manifold_entropy.held_moments import HeldMoments
from hyperframe.builtin.diversities.manifold_entropy.logdet import exact_logdet, probed_logdet
from hyperframe.config.schema import load_config
from hyperframe.config.sections import TrainerOptions
from hyperframe.errors import DataError
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.evaluation import evaluate
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.networks.generator import initial_weights
from hyperframe.networks.sampled import Networks
from hyperframe.networks.target import Target
from hyperframe.runtime.rng import seeded
from hyperframe.targets.recurrences import AsEquations
from hyperframe.targets.symmetry.gauge import ComposedGauge
from hyperframe.targets.weights import flatten
from hyperframe.testing.laws import Draw
from hyperframe.testing.networks import network
from hyperframe.types import Data

IMAGES = 3


def moved_target(target):
    """A copy of a target on the device that is not there."""
    with unset_fake_temporarily():
        other = Target(target.module, target.spec, target.structure)
        other.networks_at_once(IMAGES)  # looks at a copy of the module, once
    move(other.module)
    return other


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def double(weights):
    return {name: value.double() for name, value in weights.items()}


def close(found, wanted):
    """The same values, and on the device that is not there."""
    for one, other in zip(listed(found), listed(wanted), strict=True):
        assert one.device.type == "cuda"
        torch.testing.assert_close(value_of(one), other, rtol=1e-8, atol=1e-10)


def listed(result):
    return list(result.values()) if isinstance(result, dict) else [result]


@pytest.fixture
def digits():
    overrides = ["trainer.device=cpu", f"trainer.networks={NETWORKS}", "target.channels=[2,3]", "generator.latent=5"]
    built = build_experiment(load_config("digits_hypernetwork", overrides, REGISTRY))
    built.generator.double()
    built.target.to("cpu", torch.float64)
    return built


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options"), of_kind("generator"))
def test_generators(digits, name, options, training):
    with seeded(0, "parameters"):
        generator = make("generator", name, options, digits.target.spec, digits.task).double().train(training)
    other = copy.deepcopy(generator)
    z = generator.latent(NETWORKS, torch.Generator().manual_seed(0))
    with cuda() as waits:
        moved = move(other)
        before = len(waits)
        drawn = moved.latent(NETWORKS, Rng().manual_seed(0))
        weights = moved(drawn)
        moved.after_step(0, 1)
        penalty = moved.penalty(drawn, weights)
        assert not waits[before:]
    close(drawn, z)
    close(weights, generator(z))
    assert penalty is None or penalty.is_cuda
    close(dict(moved.named_buffers()), dict(generator.named_buffers()))


@pytest.mark.parametrize(("name", "options"), of_kind("generator"))
def test_optimisers_and_what_is_collected(digits, name, options):
    generator = make("generator", name, options, digits.target.spec, digits.task).train()
    with cuda() as waits:
        moved = move(generator)
        groups = [{"params": parameters} for _, parameters in moved.parameter_groups()]
        optimizer = moved.make_optimizer(groups, TrainerOptions(steps=1, schedule="cyclic", cycles=1))
        for parameter in moved.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.found_inf = move(torch.ones(()))
        before = len(waits)
        moved.before_step(0, 1)
        if not optimizer.defaults.get("fused"):  # torch's fused operations are not pretended, nor what it counts
            with torch.no_grad():
                inspect.unwrap(type(optimizer).step)(optimizer)
        moved.after_step(0, 1)
        assert not waits[before:]


@pytest.mark.slow
@pytest.mark.parametrize(("training", "networks"), [(True, 1), (True, 2), (False, 2)])
@pytest.mark.parametrize(("name", "options"), of_kind("target"))
def test_targets(name, options, training, networks):
    target = target_of(name)
    weights = double(initial_weights(target.spec, networks, torch.Generator().manual_seed(0)))
    x = draw(networks, IMAGES, *target.spec.input_shape)
    with seeded(0, "dropout"):
        wanted = target.forward(weights, x, training=training)
    with cuda() as waits, AsEquations():  # torch's fused recurrences, which one network takes, are not pretended
        other = moved_target(target)
        moved, inputs = move(weights), move(x)
        before = len(waits)
        outputs = other.forward(moved, inputs, training=training)
        assert not waits[before:]
        statistics = other.estimate_statistics(moved, inputs[:1].unbind())
    assert all(value.is_cuda for value in statistics.values())
    assert outputs.shape == wanted.shape
    if not any(isinstance(part, nn.Dropout) for part in target.module.modules()) or not training:
        close(outputs, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), of_kind("gauge"))
def test_gauges(name, options):
    for example in ("dense_tanh", "grouped", "residual", "group_norm", "maxout"):
        net = network(example, Draw())
        spec, found = net.target.spec, net.orbits
        gauge = make("gauge", name, options, found)
        weights = {layer.name: draw(2, layer.filters, layer.filter_size) for layer in spec.layers}
        wanted = flatten(spec, gauge(weights))
        with cuda() as waits:
            other = make("gauge", name, options, found.to("cuda"))
            moved = move(weights)
            before = len(waits)
            close(flatten(spec, other(moved)), wanted)
            # What sorts or matches units asks how values compare, and says so: it is for analyses.
            assert not waits[before:] or "permutation" in gauge.fixes


@pytest.mark.parametrize(("name", "options"), of_kind("entropy"))
def test_entropy_estimators(name, options):
    samples, estimator = draw(9, 5), make("entropy", name, options)
    with cuda() as waits:
        moved = move(samples)
        before = len(waits)
        found = estimator(moved, 3, Rng().manual_seed(0))
        assert not waits[before:]
        repeated = estimator(moved, 3, Rng().manual_seed(0))
    close(found, estimator(samples, 3, torch.Generator().manual_seed(0)))
    close(repeated, value_of(found))


@pytest.mark.parametrize(("name", "options"), of_kind("diversity"))
def test_diversity_terms(digits, name, options):
    objective = digits.loss
    term = make("diversity", name, options, digits.estimator)
    if "generator" in term.needs:
        return  # it differentiates the generator; see `test_moments_and_determinants`
    objective.terms = [WeightedTerm(name=name, term=term, weight=1.0)]
    other = copy.deepcopy(digits.generator)
    shared = Data(draw(IMAGES, 1, 8, 8), torch.arange(IMAGES)) if objective.compares_outputs else None
    z = digits.generator.latent(NETWORKS, torch.Generator().manual_seed(0))

    def value(target, generator, z, rng, shared):
        weights = generator(z)
        inputs = objective.inputs(generator, z, weights, rng, shared)
        if shared:
            own = term.inputs(shared, rng)
            inputs = attrs.evolve(inputs, outputs=target.forward(weights, own, shared=True, training=True))
        return term(inputs)

    wanted = value(digits.target, digits.generator, z, torch.Generator().manual_seed(0), shared)
    with cuda() as waits:
        target = moved_target(digits.target)
        found = digits.orbits.to("cuda")
        objective.gauge = ComposedGauge({name: make("gauge", name, {}, found) for name in digits.gauge.names})
        there = move(other), move(z), Rng().manual_seed(0), shared.to("cuda") if shared else None
        before = len(waits)
        found = value(target, *there)
        assert not waits[before:]
    close(found, wanted)


def test_moments_and_determinants(digits):
    """The parts of `manifold_entropy`, but for derivatives."""
    other = copy.deepcopy(digits.generator)
    z, columns, probe = digits.generator.latent(NETWORKS, torch.Generator().manual_seed(0)), draw(2, 6, 3), draw(2, 3)

    def values(generator, z, columns, probe):
        determinants = probed_logdet(lambda v: (columns.mT @ (columns @ v[:, :, None]))[:, :, 0], probe, 3, 0.1)
        return {
            **HeldMoments(generator.train(), z)(z[:2]),
            "exact": exact_logdet(columns),
            "probed": determinants.logdet,
            "solution": determinants.solution,
        }

    wanted = values(digits.generator, z, columns, probe)
    with cuda() as waits:
        there = move(other), move(z), move(columns), move(probe)
        before = len(waits)
        found = values(*there)
        assert not waits[before:]
    close(found, wanted)


@pytest.mark.parametrize("choice", [{"name": "vi", "prior": prior} for prior in ("flat", "laplace", "scale_mixture")])
def test_objectives(choice):
    objective = load_config("digits_hypernetwork", {"objective": choice}, REGISTRY).objective.make()
    weights = {"one": draw(2, 3, 4)}
    with cuda() as waits:
        moved = move(weights)
        before = len(waits)
        found = objective.cost(moved)
        assert not waits[before:]
    close(found, objective.cost(weights))


@pytest.mark.parametrize("kind", ["bernoulli", "exponential"])
def test_weights_of_examples(kind):
    objective = load_config("digits_hypernetwork", {"objective.bootstrap": kind}, REGISTRY).objective.make()
    code, ids = draw(2, 3), torch.tensor([[0, 4, 2], [1, 0, 0]])
    with cuda() as waits:
        there = move(code), move(ids)
        objective.example_weights(*there, 5, 0)  # once, rows of the examples are drawn on the CPU
        before = len(waits)
        found = objective.example_weights(*there, 5, 0)
        assert not waits[before:]
    close(found, objective.example_weights(code, ids, 5, 0))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Options of tasks that read files of a user's own."""
    folder = tmp_path_factory.mktemp("files")
    np.savez(folder / "own.npz", x=np.random.default_rng(0).random((40, 3), np.float32), y=np.arange(40) % 4)
    for name in ("one", "other"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (4, 4), (20 * number, 0, 0)).save(folder / "images" / name / f"{number}.png")
    return {"arrays": {"file": str(folder / "own.npz")}, "image_folder": {"folder": str(folder / "images")}}


@pytest.mark.parametrize(("name", "options"), of_kind("task"))
def test_tasks(files, name, options):
    moved = {"rotation": 10.0, "translation": 1.0}
    offered = {field.name for field in attrs.fields(REGISTRY.get("task", name).component.options)}
    settings = options | files.get(name, {}) | {key: value for key, value in moved.items() if key in offered}
    task = make("task", name, settings)
    data = Data(torch.rand(6, *task.input_shape, dtype=torch.float64), labels_for(task, 6))
    outputs = draw(3, len(data), *task.output_shape)

    def in_a_step(task, data, outputs, rng):
        labels = data.y.expand(3, *data.y.shape)
        return {
            "augmented": task.augment(data.x, rng),
            "loss": task.loss(outputs, labels),
            "score": task.score(outputs, labels),
        }

    def elsewhere(task, data, outputs):
        meter = task.meter(3, len(data), data.x.device)
        meter.update(outputs, data.y, 0, 0)
        meter.result()
        return {
            "canonical": task.canonical_outputs(outputs),
            "averaged": task.averaged(outputs),
            **task.summarise(task.predictions(outputs)),
        }

    wanted = in_a_step(task, data, outputs, torch.Generator().manual_seed(0)) | elsewhere(task, data, outputs)
    with cuda() as waits:
        there = data.to("cuda"), move(outputs)
        in_a_step(task, *there, Rng())  # may move what it needs to the device, once
        before = len(waits)
        found = in_a_step(task, *there, Rng().manual_seed(0))
        assert not waits[before:]
        found |= elsewhere(task, *there)
    close(found, wanted)


def labels_for(task, examples):
    """Labels that a task takes: classes, of each place too, or values."""
    classes = torch.arange(examples) % task.num_outputs
    of_places = classes.view(-1, *[1] * len(task.output_places)).expand(-1, *task.output_places)
    for labels in (of_places, torch.randn(examples, task.num_outputs)):
        try:
            task.check_labels(labels, "here")
        except DataError:
            continue
        return labels
    raise AssertionError(f"task {task.name} takes neither classes nor values")


def test_an_evaluation(digits, monkeypatch):
    data = Data(draw(12, 1, 8, 8).abs(), torch.arange(12) % 10)
    weights = digits.generator(digits.generator.latent(NETWORKS, torch.Generator().manual_seed(0)))
    weights = {layer: theta.detach() for layer, theta in weights.items()}
    wanted = evaluate(digits, Networks(digits.target, digits.task, weights), data)
    monkeypatch.setattr("hyperframe.experiment.evaluation.stream", lambda seed, name, device: Rng().manual_seed(seed))
    with cuda():
        found = digits.orbits.to("cuda")
        gauge = ComposedGauge({name: make("gauge", name, {}, found) for name in digits.gauge.names})
        there = attrs.evolve(digits, target=moved_target(digits.target), gauge=gauge, device=torch.device("cuda", 0))
        networks = Networks(there.target, there.task, move(weights))
        found = evaluate(there, networks, data.to("cuda"))
        probabilities = networks.predict(move(data.x))
    assert leaves(found) == pytest.approx(leaves(wanted), rel=1e-9)
    torch.testing.assert_close(value_of(probabilities), Networks(digits.target, digits.task, weights).predict(data.x))


def leaves(results):
    """The numbers of nested mappings, in order; not what declares them."""
    numbers = [one for name, one in results.items() if name != "metrics"]
    return [value for one in numbers for value in (leaves(one) if isinstance(one, dict) else [one])]


def constant_on_the_cpu(x):
    return x * torch.ones(x.shape)


def index_on_the_cpu(x):
    return x[torch.arange(2)]


def carried_over(x):
    return x * torch.tensor([2.0, 3.0, 4.0], dtype=x.dtype, device=x.device)


def asks(x):
    return x if x.sum().item() > 0 else -x


def branches(x):
    return x if bool((x > 0).all()) else -x


def listed_by_the_host(x):
    return x * sum(x[0].tolist())


def dynamic(x):
    return x[x > 0]


def test_a_tensor_left_on_the_cpu_is_found():
    # The words of torch before and after it had an error of its own for this.
    with cuda(), pytest.raises(RuntimeError, match=r"found (two different|at least two) devices"):
        constant_on_the_cpu(move(draw(3, 3)))
    with cuda(), pytest.raises(TypeError, match="numpy"):
        move(draw(3)).numpy()


@pytest.mark.parametrize("function", [index_on_the_cpu, carried_over, asks, branches, listed_by_the_host, dynamic])
def test_what_the_host_waits_for_is_found(function):
    x = draw(3, 3)
    with cuda() as waits:
        moved = move(x)
        before = len(waits)
        close(function(moved), function(x))
        assert waits[before:]


def test_what_stays_on_the_device_is_not_listed():
    with cuda() as waits:
        moved = move(draw(3, 3))
        before = len(waits)
        inside = torch.full((3,), 2.0, device="cuda", dtype=moved.dtype)
        index = torch.randperm(3, generator=Rng(), device="cuda")
        torch.where(moved > 0, moved[index] * inside, 0.0).cumsum(0)
        assert not waits[before:]
