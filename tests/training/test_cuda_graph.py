"""A step that is replayed from a CUDA graph is the step that it was recorded from."""

import gc
import random
import warnings
import weakref
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from components import NETWORKS, REGISTRY, of_kind
from torch import nn

import hyperframe as hf
from hyperframe.config.schema import load_config
from hyperframe.errors import HyperframeWarning, TrainingError
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.loss import BatchLoss
from hyperframe.training.cuda_graph import WARM_UP, Recorder
from hyperframe.training.trainer import Trainer

STEPS = WARM_UP + 3


def trained(settings, **changed):
    """A trainer after some steps on a CUDA device."""
    settings = {"trainer.device": "cuda", "trainer.networks": NETWORKS, "trainer.steps": STEPS, **settings, **changed}
    built = build_experiment(load_config("digits_hypernetwork", settings, REGISTRY))
    with torch.random.fork_rng(devices=[built.device]):
        torch.manual_seed(0)
        trainer = Trainer(built, built.task.data("train"))
        for _ in range(STEPS):
            trainer.step()
        trainer.check_finite()
        state = {name: value.clone() for name, value in trainer.tensors().items()}
    return trainer, {**state, **built.generator.state_dict()}


def same(found, wanted):
    """All that the next step depends on is the same: random numbers to the bit, others as far as kernels repeat."""
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        if name.startswith("random"):
            assert torch.equal(found[name], value), name
        else:
            torch.testing.assert_close(
                found[name], value, rtol=1e-4, atol=1e-6, msg=lambda text, at=name: f"{at}: {text}"
            )


def same_with_and_without(settings):
    plain, wanted = trained({**settings, "trainer.cuda_graph": False})
    recorded, found = trained(settings)
    assert recorded._recorder._replay is not None
    assert recorded.experiment.loss.evaluations == plain.experiment.loss.evaluations
    same(found, wanted)


class Work:
    """Stands for a step's work: gradient and metric are a scalar times what accuracy counts, evaluations are 7."""

    def __init__(self):
        self.parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(()))]  # the second has no gradient
        self.loss = SimpleNamespace(evaluations=0)
        self.waits = False
        self.part, self.count = SimpleNamespace(count=0), False
        self.given, self.graphs, self.modes = [], [], []

    def before(self):
        """For tests to replace."""

    def __call__(self, accuracy_weight):
        self.before()
        self.given.append(accuracy_weight)
        self.loss.evaluations += 7
        warnings.warn("of a component", UserWarning, stacklevel=1)
        self.part.count += self.count
        if self.waits:
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)
        self.metrics = {"loss": 2.0 * torch.as_tensor(accuracy_weight)}
        self.parameters[0].grad = torch.ones(2) * accuracy_weight
        return self.metrics


@pytest.fixture
def recorder(monkeypatch):
    """Make the recorder of some work, with a stand-in for CUDA's graphs that does on a CPU what a replay would."""

    class Graph:
        def __init__(self):
            self.states = []

        def register_generator_state(self, generator):
            self.states.append(generator)

        def replay(self):
            weight, parameter = work.given[-1], self.gradient
            parameter.copy_(torch.ones(2) * weight)
            work.metrics["loss"].copy_(2.0 * weight)

    @contextmanager
    def recording(graph, stream, capture_error_mode):
        assert stream == "of cpu"
        work.graphs.append(graph)
        yield
        graph.gradient = work.parameters[0].grad

    work = Work()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: f"of {device}")
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", work.modes.append)
    streams = {"data": torch.Generator()}
    return work, streams, partial(Recorder(work.loss, work.parameters, streams, [work.part]), work)


@pytest.mark.filterwarnings("ignore:of a component")
def test_work_is_recorded_once_and_replayed_with_what_accuracy_counts_then(recorder):
    work, streams, recorded = recorder
    for call in range(1, WARM_UP + 4):
        for parameter in work.parameters:
            parameter.grad = None  # as an optimiser's zero_grad does
        metrics = recorded(float(call))
        assert float(metrics["loss"]) == 2 * call
        assert torch.equal(work.parameters[0].grad, torch.full((2,), float(call)))
        assert work.parameters[1].grad is None
        assert work.loss.evaluations == 7 * call
    assert work.given[:WARM_UP] == [1.0, 2.0, 3.0]
    assert len(work.given) == WARM_UP + 1  # the last time to be recorded, with a tensor in the number's place
    (graph,) = work.graphs
    assert graph.states == [streams["data"]]
    assert work.modes == ["warn", 0]


def test_work_that_waits_goes_on_as_it_is(recorder):
    work, _, recorded = recorder
    work.waits = True
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for call in range(1, WARM_UP + 3):
            assert float(recorded(float(call))["loss"]) == 2 * call
    assert not work.graphs
    texts = [str(one.message) for one in told]
    assert sum("makes the host wait" in text for text in texts) == 1
    assert texts.count("of a component") == WARM_UP + 2  # warnings of others are passed on


@pytest.mark.filterwarnings("ignore:of a component")
@pytest.mark.parametrize(
    "draw", [random.random, np.random.rand, lambda: torch.rand(1), None], ids=["python", "numpy", "torch", "count"]
)
def test_work_that_python_changes_from_step_to_step_goes_on_as_it_is(recorder, draw, monkeypatch):
    work, _, recorded = recorder
    work.count = draw is None
    monkeypatch.setattr(work, "before", draw or (lambda: None))
    for call in range(1, WARM_UP + 3):
        if call == WARM_UP:
            with pytest.warns(HyperframeWarning, match="random numbers of the host .* or a component changes"):
                recorded(float(call))
        else:
            recorded(float(call))
    assert not work.graphs


def with_recorder(folder, module=None, **settings):
    """A trainer with what records its steps; on the CPU it is not used."""
    settings = {**tiny.GENERATED, "trainer.steps": 1, **settings}
    run = hf.train("digits_hypernetwork", settings, module=module, out=folder)
    trainer = Trainer(run.experiment, run.data("train"))
    trainer._recorder = trainer._make_recorder()
    return trainer


class LayerDrop(nn.Module):
    def forward(self, x):
        return x if self.training and random.random() < 0.5 else -x


class LateDropout(nn.Dropout):
    def forward(self, x):
        return super().forward(x) if len(x) > 5 else x


def perceptron(*parts):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), *parts, nn.Linear(6, 10))


@pytest.mark.parametrize(
    ("part", "compares", "recorded"),
    [
        (nn.Identity, False, True),
        (nn.Dropout, False, False),  # it draws from the CPU's random numbers here
        (nn.Identity, True, True),
        (LateDropout, True, False),
        (LayerDrop, False, False),
    ],
)
def test_which_targets_are_recorded(tmp_path, part, compares, recorded):
    terms = ["weight_entropy", "output_information"] if compares else ["weight_entropy"]
    trainer = with_recorder(tmp_path / "run", perceptron(part()), diversity=terms)
    assert (trainer._recorder is not None) == recorded


def test_a_training_that_is_over_holds_nothing(tmp_path):
    trainer = with_recorder(tmp_path / "run")
    trainer.step()  # the first is not recorded yet
    gone = weakref.ref(trainer)
    gc.disable()
    try:
        del trainer
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:of a component")
def test_work_that_cannot_be_recorded_is_an_error_that_names_the_way_out(recorder, monkeypatch):
    _, _, recorded = recorder

    @contextmanager
    def refusing(graph, stream, capture_error_mode):
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refusing)
    for call in range(WARM_UP):
        recorded(float(call))
    with pytest.raises(TrainingError, match=r"not permitted.*set trainer\.cuda_graph=false"):
        recorded(0.0)


def test_on_a_cpu_nothing_is_recorded():
    built = build_experiment(load_config("digits_hypernetwork", tiny.PERCEPTRON, REGISTRY))
    assert Trainer(built, built.task.data("train"))._recorder is None


@pytest.mark.cuda
@pytest.mark.parametrize(("generator", "options"), of_kind("generator"))
def test_every_generator_is_trained_as_without_it(generator, options):
    own = {f"generator.{name}": value for name, value in options.items()}
    own |= {"generator.networks": NETWORKS} if generator == "direct" else {}
    same_with_and_without({"generator": generator, **own, "trainer.schedule": "cyclic"})


@pytest.mark.cuda
@pytest.mark.parametrize(
    "settings",
    [
        {"objective.lambda_start": 3.0, "objective.lambda_part": 1.0},
        {"trainer.chunk": 2},
        {"generator": "modes", "generator.modes": 3},
        {"objective": "vi"},
        {"objective.bootstrap": "bernoulli"},
        {"task.rotation": 5},
        {"trainer.gradient_clip": 0.1},
        {"trainer.average_tail": 0.5},
        {"trainer.precision": "tf32"},
        {"diversity": ["variance", "output_information"], "generator": "direct", "generator.networks": NETWORKS},
    ],
    ids=str,
)
def test_what_changes_from_step_to_step_does_so_in_a_replay(settings):
    same_with_and_without(settings)


def changed_loss(monkeypatch, change):
    """Let the loss do something more."""
    gradients = BatchLoss.gradients

    def changed(self, *arguments, **named):
        change()
        return gradients(self, *arguments, **named)

    monkeypatch.setattr(BatchLoss, "gradients", changed)


@pytest.mark.cuda
def test_a_step_that_waits_for_the_device_is_not_recorded(monkeypatch):
    changed_loss(monkeypatch, torch.ones((), device="cuda").item)
    _, wanted = trained({"trainer.cuda_graph": False})
    with pytest.warns(HyperframeWarning, match="makes the host wait for the device"):
        trainer, found = trained({})
    assert trainer._recorder._replay is None
    same(found, wanted)


@pytest.mark.cuda
def test_what_cannot_be_recorded_is_an_error_that_names_the_way_out(monkeypatch):
    def choosy():
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("not in a graph")

    changed_loss(monkeypatch, choosy)
    with pytest.raises(TrainingError, match=r"not in a graph.*trainer\.cuda_graph=false"):
        trained({})
    trained({"trainer.cuda_graph": False})


@pytest.mark.cuda
@pytest.mark.parametrize("compares", [False, True])
def test_a_dropout_is_recorded_unless_its_numbers_are_drawn_twice(tmp_path, compares):
    settings = {"trainer.device": "cuda", "trainer.networks": NETWORKS, "trainer.steps": STEPS}
    settings |= {"diversity": ["weight_entropy", "output_information"]} if compares else {}
    runs = [
        hf.train(
            "digits_hypernetwork",
            {**settings, "trainer.cuda_graph": graph},
            module=perceptron(nn.Dropout()),
            out=tmp_path / str(graph),
        )
        for graph in (True, False)
    ]
    trainer = Trainer(runs[0].experiment, runs[0].data("train"))
    assert (trainer._recorder is None) == compares
    same(*(run.experiment.generator.state_dict() for run in runs))
