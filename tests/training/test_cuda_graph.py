"""A step that is replayed from a CUDA graph is the step that it was recorded from."""

import warnings
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

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
from hyperframe.training.cuda_graph import WARM_UP, Recorded
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
    assert recorded._gradients._replay is not None
    assert recorded.experiment.loss.evaluations == plain.experiment.loss.evaluations
    same(found, wanted)


class Work:
    """Stands for a step's work: gradient and metric are a scalar times what accuracy counts, evaluations are 7."""

    def __init__(self):
        self.parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(()))]  # the second has no gradient
        self.loss = SimpleNamespace(evaluations=0)
        self.waits = False
        self.given, self.graphs, self.modes = [], [], []

    def __call__(self, accuracy_weight):
        self.given.append(accuracy_weight)
        self.loss.evaluations += 7
        warnings.warn("of a component", UserWarning, stacklevel=1)
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
    def recording(graph, capture_error_mode):
        work.graphs.append(graph)
        yield
        graph.gradient = work.parameters[0].grad

    work = Work()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", work.modes.append)
    streams = {"data": torch.Generator()}
    return work, streams, Recorded(work, work.loss, work.parameters, streams)


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
    assert sum("no CUDA graph is recorded" in text for text in texts) == 1
    assert texts.count("of a component") == WARM_UP + 2  # warnings of others are passed on


@pytest.mark.filterwarnings("ignore:of a component")
def test_work_that_cannot_be_recorded_is_an_error_that_names_the_way_out(recorder, monkeypatch):
    _, _, recorded = recorder

    @contextmanager
    def refusing(graph, capture_error_mode):
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refusing)
    for call in range(WARM_UP):
        recorded(float(call))
    with pytest.raises(TrainingError, match=r"not permitted.*set trainer\.cuda_graph=false"):
        recorded(0.0)


def test_on_a_cpu_nothing_is_recorded():
    built = build_experiment(load_config("digits_hypernetwork", tiny.PERCEPTRON, REGISTRY))
    assert not isinstance(Trainer(built, built.task.data("train"))._gradients, Recorded)


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
        {"objective.lambda_start": 3.0},
        {"objective": "vi"},
        {"objective.bootstrap": "bernoulli"},
        {"task.rotation": 5},
        {"trainer.gradient_clip": 0.1},
        {"trainer.average_tail": 0.5},
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
    assert trainer._gradients._replay is None
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
@pytest.mark.parametrize("twice", [False, True])
def test_a_dropout_is_recorded_unless_its_numbers_are_drawn_twice(tmp_path, twice):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 10))
    settings = {"trainer.device": "cuda", "trainer.networks": NETWORKS, "trainer.steps": STEPS}
    settings |= {"diversity": ["weight_entropy", "output_information"]} if twice else {}
    run = hf.train("digits_hypernetwork", settings, module=module, out=tmp_path / "run")
    assert isinstance(Trainer(run.experiment, run.data("train"))._gradients, Recorded) != twice
