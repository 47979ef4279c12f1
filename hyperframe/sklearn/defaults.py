"""Targets and settings by the shape and the number of the examples, where nothing else is said."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from hyperframe.sklearn.data import Examples

HIDDEN = (100, 100)
"""Hidden units of the perceptron for tables."""
FILTERS = (16, 32)
SMALLEST_IMAGE = 6
"""Images of fewer pixels a side have no convolutions."""
MODES, DEVIATIONS = 8, 10
"""Base points, and deviations from each that are kept."""
LAMBDA, RATE = 1e4, 5e-3
PRIOR_STD, PRIOR_STD_OF_CLASSES = 0.5, 0.7
"""Standard deviation of the normal prior of each weight, in networks for values and for classes."""
BATCHES, LARGEST_BATCH = ((300, 32), (1000, 64), (10_000, 128)), 256
"""Examples that each network sees in a step, below so many to train on."""
PASSES, FEWEST_STEPS, MOST_STEPS = 80, 100, 3000
"""How often a network sees each example, and the bounds of the number of steps."""
VALIDATIONS = 20
"""How often a training is validated."""
FEWEST_DIVIDED, FEW = 20, 2000
PART, PART_OF_FEW = 0.1, 0.2
"""The part that validates, and that of few examples with values, whose noise needs some."""


def default_target(shape: Sequence[int], outputs: int) -> nn.Module | dict[str, Any]:
    """A perceptron for a table, [features], and a small convolutional network for images, [channels, height, width].

    Inputs of other shapes, and images that are too small, have the perceptron too.
    """
    if len(shape) == 3 and min(shape[1:]) >= SMALLEST_IMAGE:
        return _convolutional(shape, outputs)
    return {"name": "mlp", "hidden": list(HIDDEN)}


def _convolutional(shape: Sequence[int], outputs: int) -> nn.Module:
    """Two convolutions with ReLU and 2 × 2 max-pooling, and one dense layer."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for filters in FILTERS:
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, height, width = filters, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, outputs))


def validating_part(said: float | str | None, examples: int, classes: int | None) -> float | None:
    """The part of the examples that validates, as `validation_fraction` says it; None: all of them train.

    `"auto"` is a tenth. Few examples with classes all train, since that is worth more than the choice of a step; of few
    with values a fifth validates, since the noise is estimated on them.
    """
    if said is None or examples < FEWEST_DIVIDED:
        return None
    if not isinstance(said, str):
        return float(said)
    if examples >= FEW:
        return PART
    return PART_OF_FEW if classes is None else None


def settings(examples: Examples, overrides: Mapping[str, Any], *, validates: bool) -> dict[str, Any]:
    """Keys of a configuration and their values: the defaults for these examples to train on, and what is overridden.

    The weights' squared norm costs λ / (2 · examples · std²). Beside λ times the mean loss that is a normal prior; for
    values it is one where the noise has half the variance of the labels, and weaker where there is more noise.
    """
    count = len(examples)
    batch = next((size for most, size in BATCHES if count < most), LARGEST_BATCH)
    steps = _said(overrides, "trainer", "steps", min(max(PASSES * count // batch, FEWEST_STEPS), MOST_STEPS))
    accuracy = _said(overrides, "objective", "lambda", LAMBDA)
    std = PRIOR_STD if examples.classes is None else PRIOR_STD_OF_CLASSES
    return {
        "generator": {"name": "modes", "modes": MODES, "around": "moments", "deviations": DEVIATIONS},
        "objective": {"name": "trade_off", "lambda": accuracy, "weight_l2": accuracy / (2 * count * std**2)},
        "trainer.steps": steps,
        "trainer.networks": MODES,
        "trainer.batch_size": batch,
        "trainer.chunk": MODES,
        "trainer.threads": 1,
        "trainer.device": "cpu",
        "trainer.rate": RATE,
        "trainer.schedule": "one_cycle",
        "trainer.checkpoint_every": steps,
        "trainer.keep_checkpoints": 1,
        "evaluation.every": max(1, steps // VALIDATIONS) if validates else steps,
        "evaluation.networks": MODES,
        **overrides,
    }


def _said(overrides: Mapping[str, Any], section: str, key: str, default: Any) -> Any:
    """The value that overrides say for a key which others follow; the default where that is no positive number."""
    nested = overrides.get(section)
    value = nested.get(key) if isinstance(nested, Mapping) else None
    value = overrides.get(f"{section}.{key}", value)
    if isinstance(value, int | float) and value > 0:
        return type(default)(value)
    return default
