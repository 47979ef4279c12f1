"""Figures of a task's meter: which are of single networks, which are shares, and which are better when greater."""

from collections.abc import Mapping
from typing import Any

PERCENT = ("accuracy", "majority", "mean_probability", "disagreement", "ece")
MORE_IS_BETTER = (*PERCENT, "value")


def of_networks(figures: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """The figures of single networks: a mean, deviation, least and largest value each.

    Example:
        >>> of_networks({"accuracy": {"mean": 0.5}, "nll": 0.1, "ensemble": {"majority": 0.6}})
        {'accuracy': {'mean': 0.5}}
    """
    return {name: value for name, value in figures.items() if isinstance(value, Mapping) and "mean" in value}
