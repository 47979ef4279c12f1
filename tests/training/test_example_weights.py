"""Tasks that say what each training example counts."""

import pytest
import torch

from hyperframe.api import make_registry
from hyperframe.config.schema import load_config
from hyperframe.experiment.bound import departures
from hyperframe.experiment.build import build_experiment
from hyperframe.training.trainer import Trainer


def trainer_of(small, weights, **changes):
    experiment = build_experiment(load_config("digits_hypernetwork", {**small.settings, **changes}, make_registry()))
    train = experiment.task.data("train")
    experiment.task.example_weights = None if weights is None else weights(len(train))
    return Trainer(experiment, train)


def loss_of(trainer):
    trainer.step()
    return trainer.read_metrics()["accuracy_loss"]


@pytest.mark.parametrize("bootstrap", ["none", "exponential"])
def test_weights_multiply_what_an_example_counts(small, bootstrap):
    keys = {"objective.bootstrap": bootstrap}
    plain = loss_of(trainer_of(small, None, **keys))
    assert loss_of(trainer_of(small, torch.ones, **keys)) == pytest.approx(plain)
    assert loss_of(trainer_of(small, lambda count: torch.full((count,), 3.0), **keys)) == pytest.approx(3 * plain)
    halves = [
        loss_of(trainer_of(small, lambda count, rest=rest: (torch.arange(count) % 2 == rest).float(), **keys))
        for rest in (0, 1)
    ]
    assert min(halves) > 0
    assert sum(halves) == pytest.approx(plain)


def test_a_loss_with_weights_is_no_bound(small):
    keys = {"objective": "vi", "generator": "mlp", "diversity": ["manifold_entropy"], "gauges": []}
    experiment = trainer_of(small, torch.ones, **keys).experiment
    assert any("count differently" in reason for reason in departures(experiment))
