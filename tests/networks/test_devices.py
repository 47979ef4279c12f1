"""Every registered component gives on a CUDA device what it gives on the CPU, in float64.

The same bodies run on the CPU against itself, so that they are known to work where there is no CUDA device.
"""

import warnings

import pytest
import torch
from components import NETWORKS, REGISTRY, make, of_kind, target_of

import hyperframe as hf
from hyperframe.config.overrides import split_override
from hyperframe.config.schema import load_config
from hyperframe.errors import HyperframeWarning
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.terms import WeightedTerm
from hyperframe.networks.generator import initial_weights
from hyperframe.networks.sampled import Networks
from hyperframe.networks.target import Target
from hyperframe.runtime.rng import seeded
from hyperframe.targets.weights import flatten, pack, unpack
from hyperframe.testing.laws import Draw
from hyperframe.testing.networks import network
from hyperframe.training.trainer import Trainer
from hyperframe.types import Data

TASK_OF = {"digits_cnn": "digits", "mnist_cnn": "mnist"}
DEVICES = [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.cuda)]
"""The CPU beside itself tries the bodies alone."""
ON_EACH = pytest.mark.parametrize("device", DEVICES)


def experiment(device, *overrides):
    settings = {
        "trainer.device": device,
        "trainer.networks": 4,
        "trainer.chunk": 3,
        **dict(map(split_override, overrides)),
    }
    config = load_config("digits_hypernetwork", settings, REGISTRY)
    built = build_experiment(config)
    built.generator.double()
    built.target.to(device, torch.float64)
    return built


def close(found, wanted, rtol=1e-9, atol=1e-10):
    torch.testing.assert_close(found.cpu(), wanted.cpu(), rtol=rtol, atol=atol)


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


@ON_EACH
@pytest.mark.parametrize("target", sorted(TASK_OF))
@pytest.mark.parametrize(("generator", "options"), of_kind("generator"))
def test_one_step(device, target, generator, options):
    overrides = [f"target={target}", f"task={TASK_OF[target]}", f"generator={generator}"]
    overrides += [f"generator.networks={NETWORKS}"] if generator == "direct" else []
    overrides += [f"generator.{key}={str(value).lower()}" for key, value in options.items()]
    overrides += ["trainer.schedule=cyclic"]  # which some generators need
    after, gradients, metrics, draws = {}, {}, {}, False
    for place in ("cpu", device):
        built = experiment(place, *overrides)
        trainer = Trainer(built, batch_for(built, place)[0])
        z = built.generator.latent(4, torch.Generator().manual_seed(0)).to(place)
        metrics[place] = built.loss.gradients(
            built.generator, z, batch_for(built, place), trainer.streams["terms"], accuracy_weight=100.0
        )
        gradients[place] = {
            name: parameter.grad.clone()
            for name, parameter in built.generator.named_parameters()
            if parameter.grad is not None
        }
        before = torch.get_rng_state()
        trainer.optimizer.step()
        draws = draws or not torch.equal(torch.get_rng_state(), before)
        after[place] = built.generator.state_dict()
    for found in [gradients, metrics, *([] if draws else [after])]:
        assert found[device].keys() == found["cpu"].keys()
        for name, value in found["cpu"].items():
            close(found[device][name], value)
    # An optimiser that draws random numbers draws others on another device.
    assert all(value.isfinite().all() and value.device.type == device for value in after[device].values())


@ON_EACH
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options"), of_kind("target"))
def test_targets(device, name, options, training):
    """Outputs, and gradients at the weights; a module that draws random numbers draws others on another device."""
    made = target_of(name)
    drawn = initial_weights(made.spec, 2, torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, *made.spec.input_shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws = training and any(isinstance(part, torch.nn.Dropout) for part in made.module.modules())
    found = {}
    for place in ("cpu", device):
        target = Target(made.module, made.spec, made.structure).to(place, torch.float64)
        weights = {layer: theta.to(place, torch.float64).requires_grad_() for layer, theta in drawn.items()}
        with seeded(0, "dropout", place):
            outputs = target.forward(weights, x.to(place), training=training)
        gradients = torch.autograd.grad(outputs.square().mean(), list(weights.values()))
        statistics = target.estimate_statistics(to(weights, place), [x[0].to(place)])
        found[place] = [outputs.detach(), *gradients, *statistics.values()]
    if not draws:
        for value, wanted in zip(found[device], found["cpu"], strict=True):
            close(value, wanted)


@ON_EACH
@pytest.mark.parametrize(("name", "options"), of_kind("gauge"))
def test_gauges(device, name, options):
    for example in ("dense", "dense_tanh", "grouped", "residual", "layer_norm", "group_norm", "maxout"):
        net, found = network(example, Draw()), {}
        drawn = initial_weights(net.target.spec, 3, torch.Generator().manual_seed(0))
        for place in ("cpu", device):
            weights = {layer: (theta + 0.1).to(place, torch.float64).requires_grad_() for layer, theta in drawn.items()}
            rows = flatten(net.target.spec, make("gauge", name, options, net.orbits.to(place))(weights))
            gradients = torch.autograd.grad(rows.sin().sum(), list(weights.values()))
            found[place] = [rows.detach(), *gradients]
        for value, wanted in zip(found[device], found["cpu"], strict=True):
            close(value, wanted)


@ON_EACH
def test_weights_are_taken_apart_and_put_together(device):
    for example in ("grouped", "fused", "residual", "table"):
        spec = network(example, Draw()).target.spec
        weights = to(initial_weights(spec, 2, torch.Generator().manual_seed(0)), device)
        back = pack(spec, unpack(spec, weights))
        assert all(torch.equal(back[layer], theta) for layer, theta in weights.items())


@ON_EACH
@pytest.mark.parametrize(("name", "options"), of_kind("entropy"))
def test_entropy_estimators(device, name, options):
    samples = torch.randn(20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # Numbers of another device are others.
    options = {key: value for key, value in options.items() if key not in ("subset", "coordinates")}
    estimator, found = make("entropy", name, options), {}
    for place in ("cpu", device):
        leaf = samples.to(place).requires_grad_()
        value = estimator(leaf, 3)
        found[place] = (value.detach(), torch.autograd.grad(value, leaf)[0])
    close(found[device][0], found["cpu"][0])
    close(found[device][1], found["cpu"][1])


@ON_EACH
def test_an_estimator_draws_its_numbers_on_the_device(device):
    samples = torch.randn(20, 7, generator=torch.Generator().manual_seed(0)).to(device)
    estimator = make("entropy", "kozachenko_leonenko", {"subset": 8, "coordinates": 3})
    one, other = (estimator(samples, 3, torch.Generator(device).manual_seed(1)) for _ in range(2))
    assert one.device == samples.device
    assert torch.equal(one, other)


@ON_EACH
@pytest.mark.parametrize(("name", "options"), of_kind("diversity"))
def test_diversity_terms(device, name, options):
    def found(place, seed):
        built = experiment(place, "generator.latent=5")
        objective = built.loss
        term = make("diversity", name, options, built.estimator)
        objective.terms = [WeightedTerm(name=name, term=term, weight=1.0)]
        metrics = objective.gradients(
            built.generator,
            built.generator.latent(5, torch.Generator().manual_seed(0)).to(place),
            batch_for(built, place, networks=5),
            torch.Generator(place).manual_seed(seed),
            accuracy_weight=0.0,
            shared=batch_for(built, place)[0] if objective.compares_outputs else None,
        )
        gradients = [parameter.grad for parameter in built.generator.parameters() if parameter.grad is not None]
        return [metrics["loss"], *gradients]

    wanted, values = found("cpu", 0), found(device, 0)
    if all(torch.equal(wanted[0], found("cpu", seed)[0]) for seed in range(1, 5)):
        for value, other in zip(values, wanted, strict=True):
            close(value, other)
    else:  # it draws random numbers, which are others on another device
        assert all(value.isfinite().all() and value.device.type == device for value in values)


@ON_EACH
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


SHORT = {
    "trainer.steps": 6,
    "trainer.networks": 4,
    "evaluation.every": 3,
    "evaluation.networks": 5,
    "trainer.log_every": 2,
}


@ON_EACH
def test_a_run_is_trained_measured_and_read_on_the_cpu(device, tmp_path):
    run = hf.train("digits_hypernetwork", {**SHORT, "trainer.device": device}, out=tmp_path / "run")
    assert run.evaluate(4)["networks"] == 4
    x = run.experiment.task.data("test").x[:20]
    nets = run.sample(3)
    nets.predict(x)
    path = run.write_samples(tmp_path / "nets.safetensors", 3, gauge=True)
    assert path.is_file()
    alone = nets[1].cpu().double()
    # Torch lets convolutions in float32 on CUDA round their inputs to TF32: 11 bits, an error of up to 5e-4 each.
    rtol = 4e-3 if device == "cuda" else 1e-4
    close(nets.predict(x)[1].double(), alone(x.double()).softmax(-1), rtol=rtol, atol=1e-5)
    back = hf.load(run.folder, device="cpu")
    for name, value in run.experiment.generator.state_dict().items():
        assert torch.equal(back.experiment.generator.state_dict()[name], value.cpu())
    assert back.evaluate(4)["networks"] == 4


@ON_EACH
@pytest.mark.parametrize("way", ["there", "back"])
def test_a_run_goes_on_on_another_device(device, way, tmp_path, recwarn):
    first, second = ("cpu", device) if way == "there" else (device, "cpu")
    run = hf.train(
        "digits_hypernetwork", {**SHORT, "trainer.device": first, "trainer.stop_after": 3}, out=tmp_path / "run"
    )
    before = {name: value.cpu().clone() for name, value in run.experiment.generator.state_dict().items()}
    resumed = hf.resume(run.folder, {"trainer.device": second})
    assert resumed.step == SHORT["trainer.steps"]
    after = resumed.experiment.generator.state_dict()
    assert any(not torch.equal(before[name], value.cpu()) for name, value in after.items())
    assert all(value.isfinite().all() for value in after.values())
    assert any("device" in str(one.message) for one in recwarn) == (first != second)


@pytest.mark.cuda
def test_memory_that_runs_out_on_cuda_halves_the_chunk_and_changes_nothing():
    built = experiment("cuda", "target.channels=[64,64]", "trainer.networks=64", "trainer.chunk=64")
    z = built.generator.latent(64, torch.Generator("cuda").manual_seed(0))
    batch = batch_for(built, "cuda", networks=64, images=64)
    rng = torch.Generator("cuda")

    def loss():
        return built.loss.gradients(built.generator, z, batch, rng, accuracy_weight=1.0)["loss"]

    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    wanted = loss()
    peak, total = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((held + 0.7 * (peak - held)) / total)
    try:
        with pytest.warns(HyperframeWarning) as told:
            found = loss()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    # What the allocator rounds up or cannot use, and weights of all networks, may leave no room for half a chunk.
    for number, one in enumerate(told):
        assert f"trainer.chunk goes from {64 >> number} to {32 >> number}" in str(one.message)
    assert built.loss.chunks.size == 64 >> len(told)
    close(found, wanted)


def waiting(component):
    """Whether a component says that it makes the host wait for the device."""
    return "host wait" in " ".join((type(component).__doc__ or "").split())


@pytest.mark.cuda
@pytest.mark.parametrize("override", ["generator=direct", "generator=mlp", "task.rotation=5", "objective=vi"])
def test_nothing_in_the_step_waits_for_the_device(override):
    no_wait([override, *([f"generator.networks={NETWORKS}"] if "direct" in override else [])])


@pytest.mark.cuda
@pytest.mark.parametrize(("name", "options"), of_kind("diversity"))
def test_no_diversity_term_waits_for_the_device(name, options):
    if not waiting(make("diversity", name, options, make("entropy", "kozachenko_leonenko", {}))):
        own = [f"diversity.0.{key}={'null' if value is None else value}" for key, value in options.items()]
        no_wait([f"diversity=[{name}]", *own])


@pytest.mark.cuda
@pytest.mark.parametrize(("name", "options"), of_kind("entropy"))
def test_no_estimator_waits_for_the_device(name, options):
    if not waiting(make("entropy", name, options)):
        no_wait([f"entropy={name}", *(f"entropy.{key}={str(value).lower()}" for key, value in options.items())])


@pytest.mark.cuda
@pytest.mark.parametrize(("name", "options"), of_kind("gauge"))
def test_no_gauge_waits_for_the_device(name, options):
    gauge = make("gauge", name, options, network("residual", Draw()).orbits)
    if "permutation" not in gauge.fixes:  # what sorts units asks how they compare, and is for analyses
        no_wait([f"gauges=[{name}]"])


def no_wait(overrides):
    """The second step of a training, in which CUDA raises where the host waits."""
    overrides = ["trainer.device=cuda", f"trainer.networks={NETWORKS}", *overrides]
    built = build_experiment(load_config("digits_hypernetwork", overrides, REGISTRY))
    trainer = Trainer(built, built.task.data("train"))
    trainer.step()
    torch.cuda.synchronize()
    try:
        with warnings.catch_warnings():
            # That it does not see all that waits yet. As an error this would leave the mode on.
            warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype feature")
            torch.cuda.set_sync_debug_mode("error")
        trainer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
