"""The memory of a step, predicted without values, beside what a step's tensors take."""

import copy

import pytest
import torch

from hyperframe.config.schema import load_config
from hyperframe.experiment import step_memory as module
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.describe import describe
from hyperframe.experiment.loss import BatchLoss
from hyperframe.experiment.step_memory import LivingBytes, step_memory
from hyperframe.runtime.chunks import Chunks
from hyperframe.runtime.rng import stream
from hyperframe.types import Data

SETTINGS = {"trainer.networks": 10, "trainer.batch_size": 7, "trainer.device": "cpu"}
FORMS = {
    "base points": {},
    "a hypernetwork": {"generator": "hypernetwork"},
    "in chunks": {"generator": "hypernetwork", "trainer.chunk": 1},
    "networks": {"generator": "direct", "generator.networks": 10, "diversity": ["none"]},
    "outputs": {"diversity": ["disagreement", "weight_entropy"], "trainer.shared_examples": 9},
    "adapters": {"target.adapter": "lora", "target.rank": 2, "target.weights": True},
    "a part": {"target.generate": ["7"], "target.weights": True, "trainer.same_examples": True},
    "a prior": {"prior.functions": 3},
}
LONG = {"adapters", "in chunks"}
"""Forms that take long, beside others."""


@pytest.mark.parametrize("form", [pytest.param(form, marks=[pytest.mark.slow] * (form in LONG)) for form in FORMS])
def test_the_memory_of_a_step_is_that_of_its_tensors(registry, form):
    config = load_config("digits", {**SETTINGS, **FORMS[form]}, registry)
    built = build_experiment(config)
    options, generator, rng = config.trainer, built.generator, stream(0, "step")
    predicted = step_memory(built.loss, generator, built.task, config)
    built.target.try_out(options.batch_size)
    x, y = torch.zeros(1, 8, 8), torch.zeros((), dtype=torch.int64)
    rows = 1 if options.same_examples else options.networks
    held = sum(value.nbytes for value in generator.parameters())
    generator.train()
    with LivingBytes() as living:
        batch, shared = (
            Data(x.repeat(*sizes, 1, 1, 1), y.repeat(*sizes))
            for sizes in ((rows, options.batch_size), (options.shared_examples,))
        )
        z = generator.latent(options.networks, rng)
        compared = shared if built.loss.compares_outputs else None
        built.loss.gradients(generator, z, batch, rng, accuracy_weight=1.0, shared=compared)
    assert predicted == pytest.approx(3 * held + living.most, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"diversity": ["disagreement", "weight_entropy"], "trainer.chunk": 3}])
def test_four_chunks_tell_what_all_would(registry, monkeypatch, changes):
    settings = {**SETTINGS, "trainer.networks": 20, "trainer.chunk": 2, **changes}
    built = build_experiment(load_config("digits", settings, registry))
    passes, run = [], BatchLoss._pass
    monkeypatch.setattr(BatchLoss, "_pass", lambda *given, **named: passes.append(1) or run(*given, **named))
    predicted = step_memory(built.loss, built.generator, built.task, built.config)
    assert len(passes) == 4

    def all_of_them(size):
        chunks = Chunks(size)
        chunks.sequential = True
        return chunks

    monkeypatch.setattr(module, "SampledChunks", all_of_them)
    assert step_memory(built.loss, built.generator, built.task, built.config) == predicted
    assert len(passes) > 4 + 4


def test_nothing_changes(registry):
    """Neither parameters nor moments nor random numbers, and the loss runs as before."""
    config = load_config("digits", {**SETTINGS, "generator": "hypernetwork"}, registry)
    built = build_experiment(config)
    before, numbers = copy.deepcopy(built.generator.state_dict()), torch.get_rng_state()
    chunks = built.loss.chunks.size, built.loss.chunks.sequential, built.loss.evaluations
    step_memory(built.loss, built.generator, built.task, config)
    after = built.generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(numbers, torch.get_rng_state())
    assert (built.loss.chunks.size, built.loss.chunks.sequential, built.loss.evaluations) == chunks
    x = torch.rand(2, 1, 8, 8)
    weights = {name: value.detach() for name, value in built.generator.eval()(torch.rand(10, 64)).items()}
    assert built.target.forward(weights, x, shared=True).isfinite().all()


@pytest.mark.slow
def test_more_networks_take_more_and_chunks_bound_their_activations(registry):
    def of(**changes):
        own = {key.replace("__", "."): value for key, value in changes.items()}
        return describe(load_config("digits", {**SETTINGS, "trainer.batch_size": 2000, **own}, registry))["step_memory"]

    assert of(trainer__networks=40) > of()
    assert of(trainer__chunk=1) < 0.5 * of(trainer__chunk=10)


def test_what_cannot_do_without_values_gives_no_number(registry):
    """The regression's likelihood asks for a value."""
    assert describe(load_config("diabetes", {}, registry))["step_memory"] is None
