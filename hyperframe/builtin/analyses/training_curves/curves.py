"""The measurements of a training as columns."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperframe.metrics import metrics_of
from hyperframe.runs.metrics_log import read_metrics

KEPT = 400
"""The most steps that are kept of each, evenly spaced."""

OF_MACHINE = ("step", "steps_per_second", "cpu_seconds_per_step")
ENTROPY = "entropy"


def read_curves(folder: Path, last: int) -> dict[str, Any]:
    """Read the measurements up to a step; see `training_curves`. A value that is missing or no number is None."""
    lines = [line for line in read_metrics(folder) if line["step"] <= last and "failed" not in line]
    trained = [line for line in lines if "validation" not in line]
    validated = [line for line in lines if isinstance(line.get("validation"), Mapping)]
    names = dict.fromkeys(key for line in trained for key in line if key not in OF_MACHINE)
    training, validations = thinned(trained), thinned(validated)
    metrics = metrics_of(validations[-1]["validation"]) if validations else []
    columns: dict[str, list[float | None]] = {
        key_of(metric.of, metric.name): [metric.value(line["validation"]) for line in validations] for metric in metrics
    }
    columns[ENTROPY] = [_number(line["validation"].get(ENTROPY)) for line in validations]
    return {
        "training": {
            "steps": [line["step"] for line in training],
            "values": {name: [_number(line.get(name)) for line in training] for name in names},
        },
        "validation": {"steps": [line["step"] for line in validations], "values": columns},
        "declared": [metric.plain() for metric in metrics],
    }


def key_of(of: str, name: str) -> str:
    """Return the key of a metric's values: its name, for one of the ensemble with a word before it."""
    return name if of == "network" else f"ensemble {name}"


def thinned(lines: list[Any], kept: int = KEPT) -> list[Any]:
    """Return at most so many of the lines, evenly spaced, the last one among them.

    Example:
        >>> thinned([0, 1, 2, 3, 4, 5], 3)
        [1, 3, 5]
    """
    step = max(1, math.ceil(len(lines) / kept))
    return lines[::-1][::step][::-1]


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None
