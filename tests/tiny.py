"""Settings of trainings that take a moment, for tests that are not about training, and what else several tests need."""

from hyperframe.experiment.build import traced_target
from hyperframe.networks.target import Target
from hyperframe.targets.tracing.tracer import Traced

GENERATED = {
    "generator": "mlp",
    "generator.hidden": [8],
    "trainer.device": "cpu",
    "trainer.networks": 4,
    "trainer.batch_size": 8,
    "evaluation.networks": 3,
    "evaluation.test_networks": 4,
}
"""A small generator and few networks."""

PERCEPTRON = {"target": "mlp", "target.hidden": [6], **GENERATED}
"""The same for a small target."""

CHECKED = {**GENERATED, "trainer.steps": 4, "trainer.checkpoint_every": 2, "evaluation.every": 2}
"""The same for four steps with two validations and two checkpoints."""


def target_of(made):
    """The target of what a factory gives: a module with its spec, or what tracing found."""
    return traced_target(made) if isinstance(made, Traced) else Target(*made)


def numbers(value):
    """All floating-point numbers of nested plain data, such as the figures of an analysis."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [one for part in value for one in numbers(part)]
    return [value] if isinstance(value, float) else []
