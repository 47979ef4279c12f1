"""Whether a training was too long, too short, or long enough, by its validations."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperframe import Metric
from hyperframe.builtin.analyses.training_curves.curves import key_of
from hyperframe.metrics import Course

FEWEST = 6
"""Validations from which on something is said."""

WINDOW = 3
"""Validations whose mean is compared, since each has its noise."""

GAINING = 0.05
"""Of all that was gained, how much must come in the last quarter for the training to be called too short."""


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and the ones beside it.

    Example:
        >>> smoothed([0.0, 3.0, 6.0])
        [1.5, 3.0, 4.5]
    """
    reach = WINDOW // 2
    parts = [values[max(0, place - reach) : place + reach + 1] for place in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def course_of(steps: Sequence[int], values: Sequence[float]) -> Course:
    """Return the course of values, of which more are better, as the training followed it for its own warning.

    Example:
        >>> course = course_of(range(7), [0.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
        >>> course.best_step, course.has_worsened(6, steps=7)
        (1, True)
    """
    course = Course()
    for step, value in zip(steps, values, strict=True):
        course.add(step, value)
    return course


def gained_late(values: Sequence[float]) -> float:
    """Return the part of the gain of values, of which more are better, that comes in their last quarter.

    Example:
        >>> gained_late([0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
        0.0
    """
    means = smoothed(values)
    gain = means[-1] - min(values[0], means[0])
    return (means[-1] - means[-1 - max(1, len(means) // 4)]) / gain if gain > 0 else 0.0


def advise(found: Mapping[str, Any], metrics: Sequence[Metric]) -> str:
    """Say whether to train longer, or less, by the metrics of single networks; nothing where validations are few.

    A training is too long where one of them has become worse behind its best step, too short where the one that
    selects checkpoints still becomes better.
    """
    steps, columns = found["validation"]["steps"], found["validation"]["values"]
    known = {}
    singles = [metric for metric in metrics if metric.of == "network" and metric.better]
    for metric in sorted(singles, key=lambda one: not one.selects):
        values = columns[key_of(metric.of, metric.name)]
        if len(values) >= FEWEST and None not in values:
            known[metric] = [value if metric.better == "greater" else -value for value in values]
    for metric, values in known.items():
        course = course_of(steps, values)
        if course.has_worsened(steps[-1], steps[-1]):
            shown = columns[key_of(metric.of, metric.name)]
            return too_long(metric, steps, shown, steps.index(course.best_step))
    if not known:
        return ""
    metric, values = next(iter(known.items()))
    part = gained_late(values)
    if part > GAINING:
        return (
            f"Train longer: {100 * part:.0f} % of what the validation's {metric.label} gained in {steps[-1]:,} steps "
            "came in the last quarter (hyperframe train --resume RUN trainer.steps=…)."
        )
    return (
        f"More steps are unlikely to help: the validation's {metric.label} hardly changes in the last quarter of "
        f"{steps[-1]:,} steps."
    )


def too_long(metric: Metric, steps: Sequence[int], values: Sequence[float], best: int) -> str:
    """Say from which step on a metric of the validation has become worse, and what helps."""
    way = "take the best checkpoint (--checkpoint best), or train" if metric.selects else "train"
    return (
        f"The validation's {metric.label} became worse after step {steps[best]:,} ({metric.shown(values[best])} there, "
        f"{metric.shown(values[-1])} at step {steps[-1]:,}): {way} for fewer steps, with a prior (objective=vi) or "
        "with inputs that are varied at random."
    )
