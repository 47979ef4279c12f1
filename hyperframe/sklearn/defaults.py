"""Targets and settings by the shape and the number of the examples, where nothing else is said."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

MODES = 8
"""Base points, each with what is generated around it."""


def default_target(shape: Sequence[int], outputs: int) -> nn.Module | dict[str, Any]:
    """A perceptron for a table, [features], and a small convolutional network for images, [channels, height, width].

    Images too small to be halved twice, and inputs of other shapes, have the perceptron too.
    """
    if len(shape) == 3 and min(shape[1:]) >= 4:
        return _convolutional(shape, outputs)
    return {"name": "mlp", "hidden": [32, 32]}


def _convolutional(shape: Sequence[int], outputs: int) -> nn.Module:
    """Two convolutions with ReLU and 2 × 2 max-pooling, and one dense layer."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for filters in (16, 32):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, height, width = filters, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, outputs))


def default_settings(shape: Sequence[int], examples: int) -> dict[str, Any]:
    """Keys of a configuration and their values, for so many examples to train on of inputs of this shape."""
    steps = 1000
    return {
        "generator": {"name": "modes", "modes": MODES},
        "objective": {"name": "trade_off", "lambda": 1e4},
        "trainer.steps": steps,
        "trainer.networks": MODES,
        "trainer.batch_size": 32,
        "trainer.chunk": MODES,
        "trainer.threads": 1,
        "trainer.device": "cpu",
        "trainer.rate": 1e-2,
        "trainer.schedule": "one_cycle",
        "trainer.keep_checkpoints": 1,
        "evaluation.networks": 5 * MODES,
    }


def steps_of(settings: Mapping[str, Any]) -> int | None:
    """The number of steps that settings say, where they do."""
    trainer = settings.get("trainer")
    found = settings.get("trainer.steps", trainer.get("steps") if isinstance(trainer, Mapping) else None)
    return int(found) if isinstance(found, int | float) else None
