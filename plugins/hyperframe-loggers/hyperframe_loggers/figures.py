"""Figures of a training as flat names and numbers, which loggers take."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Flatten nested figures; all that is no number is left out.

    Example:
        >>> flat({"accuracy": {"mean": 0.5}, "networks": 8, "metrics": [], "entropy": None}, "validation/")
        {'validation/accuracy.mean': 0.5, 'validation/networks': 8.0}
    """
    return {prefix + name: float(value) for name, value in _leaves(values, "") if _is_number(value)}


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Flatten nested settings to texts.

    Example:
        >>> texts({"task": {"name": "digits"}, "gauges": ["scale", "logit_bias"]})
        {'task.name': 'digits', 'gauges.0': 'scale', 'gauges.1': 'logit_bias'}
    """
    return {name: str(value) for name, value in _leaves(values, "")}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All values in mappings and lists, with their dotted names."""
    if isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in items:
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
