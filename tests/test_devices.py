"""Every registered component gives on a CUDA device what it gives on the CPU, in float64.

The same bodies run on the CPU against itself, so that they are known to work where there is no CUDA device.
"""

import pytest
import torch

from hyperframe.api import installed
from hyperframe.config import load_config
from hyperframe.experiment import build_experiment
from hyperframe.objective import WeightedTerm
from hyperframe.options import read_options
from hyperframe.samples import Networks
from hyperframe.trainer import Trainer
from hyperframe.types import Data
from hyperframe.weights import flatten

REGISTRY = installed()
TASK_OF = {"digits_cnn": "digits", "mnist_cnn": "mnist"}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def names(kind):
    return [entry.component.name for entry in REGISTRY.all() if entry.kind == kind]


def make(kind, name, *arguments):
    component = REGISTRY.get(kind, name).component
    return component.factory(read_options(component.options, {}, kind), *arguments)


def experiment(device, *overrides):
    config = load_config("digits", [f"trainer.device={device}", "trainer.z=4", "trainer.chunk=3", *overrides], REGISTRY)
    built = build_experiment(config)
    built.generator.double()
    built.target.to(device, torch.float64)
    return built


def close(found, wanted):
    torch.testing.assert_close(found.cpu(), wanted.cpu(), rtol=1e-9, atol=1e-10)


def random_weights(built, batch=5):
    draw = torch.Generator().manual_seed(1)
    return {
        layer.name: torch.randn(batch, layer.filters, layer.filter_size, generator=draw, dtype=torch.float64)
        for layer in built.target.spec.layers
    }


def to(weights, device):
    return {name: value.to(device) for name, value in weights.items()}


def batch_for(built, device, networks=4, images=6):
    draw = torch.Generator().manual_seed(2)
    x = torch.rand(networks, images, *built.target.spec.input_shape, generator=draw, dtype=torch.float64)
    return Data(x, torch.randint(10, (networks, images), generator=draw)).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("target", sorted(TASK_OF))
@pytest.mark.parametrize("generator", names("generator"))
def test_one_step(device, target, generator):
    overrides = [f"target={target}", f"task={TASK_OF[target]}", f"generator={generator}"]
    overrides += ["generator.networks=4"] if generator == "direct" else []
    after, metrics = {}, {}
    for place in ("cpu", device):
        built = experiment(place, *overrides)
        trainer = Trainer(built, batch_for(built, place)[0])
        z = built.generator.latent(4, torch.Generator().manual_seed(0)).to(place)
        metrics[place] = built.objective.gradients(
            built.generator, z, batch_for(built, place), trainer.streams["terms"], accuracy_weight=100.0
        )
        trainer.optimizer.step()
        after[place] = built.generator.state_dict()
    for name, value in after["cpu"].items():
        close(after[device][name], value)
    for name, value in metrics["cpu"].items():
        close(metrics[device][name], value)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("gauge", names("gauge"))
def test_gauges(device, gauge):
    found = {}
    for place in ("cpu", device):
        built = experiment(place)
        weights = to(random_weights(built), place)
        found[place] = flatten(built.target.spec, make("gauge", gauge, built.orbits)(weights))
    close(found[device], found["cpu"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", names("entropy"))
def test_entropy_estimators(device, name):
    samples = torch.randn(20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    estimator, found = make("entropy", name), {}
    for place in ("cpu", device):
        leaf = samples.to(place).requires_grad_()
        value = estimator(leaf, 3)
        found[place] = (value.detach(), torch.autograd.grad(value, leaf)[0])
    close(found[device][0], found["cpu"][0])
    close(found[device][1], found["cpu"][1])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", names("diversity"))
def test_diversity_terms(device, name):
    found = {}
    for place in ("cpu", device):
        built = experiment(place)
        objective = built.objective
        objective.terms = [WeightedTerm(name=name, term=make("diversity", name, built.estimator), weight=1.0)]
        z = built.generator.latent(5, torch.Generator().manual_seed(0)).to(place)
        shared = batch_for(built, place)[0]
        metrics = objective.gradients(
            built.generator,
            z,
            batch_for(built, place, networks=5),
            torch.Generator(place).manual_seed(0),
            accuracy_weight=0.0,
            shared=shared if objective.compares_outputs else None,
        )
        found[place] = metrics["loss"]
    close(found[device], found["cpu"])


@pytest.mark.parametrize("device", DEVICES)
def test_figures_of_an_evaluation(device):
    found = {}
    for place in ("cpu", device):
        built = experiment(place)
        data = batch_for(built, place)[0]
        meter = built.task.meter(5, len(data), torch.device(place))
        networks = Networks(built.target, built.task, to(random_weights(built), place))
        for first, item, outputs in networks.chunks(data.x):
            meter.update(outputs, data.y[item : item + outputs.shape[1]], first, item)
        found[place] = meter.result()
    assert found[device]["ensemble"] == pytest.approx(found["cpu"]["ensemble"])
    assert found[device]["accuracy"] == pytest.approx(found["cpu"]["accuracy"])


@pytest.mark.cuda
def test_nothing_in_the_step_waits_for_the_device():
    built = build_experiment(load_config("digits", ["trainer.device=cuda"], REGISTRY))
    trainer = Trainer(built, built.task.data("train"))
    trainer.step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
def test_training_on_cuda(tmp_path):
    import hyperframe as hf

    settings = {"trainer.device": "cuda", "trainer.steps": 20, "evaluation.every": 10, "evaluation.networks": 5}
    run = hf.train("digits", settings, out=tmp_path / "run")
    assert run.evaluate(4)["networks"] == 4
    assert hf.load(run.folder, device="cpu").evaluate(4)["networks"] == 4
