"""A step that is replayed from a CUDA graph is the step that it was recorded from."""

import pytest
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
