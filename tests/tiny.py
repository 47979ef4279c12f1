"""Settings of short trainings, for tests that are not about training, and helpers that several tests share."""

import torch

from hyperframe.experiment.targets import traced_target
from hyperframe.networks.target import Target
from hyperframe.targets.tracing.tracer import Traced
from hyperframe.testing.examples import EXAMPLES

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
    """Return the target of what a factory returns: a module with its spec, or a traced module."""
    return traced_target(made) if isinstance(made, Traced) else Target(*made)


def double_target(registry, name):
    """Return an example, or a registered target with its default options, in float64."""
    if name in EXAMPLES:
        made = EXAMPLES[name]()
    else:
        component = registry.get("target", name).component
        made = component.factory(component.options())
    return target_of(made).to("cpu", torch.float64)


def numbers(value):
    """Return all floating-point numbers of nested plain data, such as the results of an analysis."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [one for part in value for one in numbers(part)]
    return [value] if isinstance(value, float) else []
