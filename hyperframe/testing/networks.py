"""The example networks that gauges, terms and generators are tried on, in sizes that a draw gives."""

import inspect
from functools import lru_cache

import torch

from hyperframe.target import Target
from hyperframe.testing.examples import EXAMPLES
from hyperframe.testing.laws import Draw
from hyperframe.testing.of_targets import TargetCase


def network(name: str, draw: Draw) -> TargetCase:
    """An example network, its sizes those of the draw, with its symmetries.

    Example:
        >>> network("dense", Draw(widths=(3, 4, 2, 1, 1))).orbits.counts["scaling"]
        4
    """
    sizes = inspect.signature(EXAMPLES[name]).parameters
    return _network(name, draw.widths[: len(sizes)])


@lru_cache(maxsize=256)
def _network(name: str, widths: tuple[int, ...]) -> TargetCase:
    sizes = inspect.signature(EXAMPLES[name]).parameters
    module, spec = EXAMPLES[name](**dict(zip(sizes, widths, strict=True)))
    return TargetCase(Target(module, spec).to("cpu", torch.float64))
