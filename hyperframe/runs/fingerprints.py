"""Fingerprints of what a run was made with: its data, split by split, and what its target computes.

Data and code lie outside a run folder and can change behind it. Both are told by little that is kept with each
checkpoint: a digest of each split, and a few outputs of the target with fixed weights on a fixed input.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hyperframe.errors import Forgiven
from hyperframe.networks.target import Target
from hyperframe.runtime.files import fingerprint
from hyperframe.runtime.rng import stream
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.targets.symmetry.precision import DoublePrecision
from hyperframe.tasks.checked import load_data
from hyperframe.types import Data, Task

LARGEST = 1 << 29
"""Bytes of a split that are looked at; of larger ones evenly spaced examples, so that the time is bounded."""
PROJECTIONS = 8
"""Numbers that are kept of a target's outputs."""
TOLERANCE = 1e-5
"""Outputs that differ by less, relative to their size, differ by rounding: they are computed in float64."""


def fingerprint_of(data: Data) -> str:
    """A short text that tells a split's data from other data.

    Example:
        >>> data = Data(torch.zeros(3, 2), torch.arange(3))
        >>> fingerprint_of(data) == fingerprint_of(Data(data.x, data.y.flip(0)))
        False
    """
    # Inputs count as what networks see, which bytes are not yet.
    size = data.kept.numel() * torch.float32.itemsize + data.y.numel() * data.y.element_size()
    seen = data[:: math.ceil(size / LARGEST)]
    return fingerprint({"x": seen.x, "y": seen.y, "examples": torch.tensor([len(data)])})


def fingerprints_of(task: Task, known: Mapping[str, Data]) -> dict[str, str]:
    """Fingerprints of the splits that are given, and of the test split, where that can be had."""
    found = {split: fingerprint_of(data) for split, data in known.items()}
    # A training can do without; whoever asks for the test split is told what is wrong with it.
    with Forgiven():
        found["test"] = fingerprint_of(load_data(task, "test"))
    return found


@torch.no_grad()
def probe_outputs(target: Target) -> list[float] | None:
    """Tell what a target computes by few numbers: projections of its outputs, with fixed weights, on a fixed input.

    In evaluation mode and float64 on the CPU, so that processors differ by their rounding only. What shows in training
    mode alone, such as the rate of a dropout, is not seen.

    Returns:
        None where it does not run in float64 on what it is tried on, nor on zeros.
    """
    rng = stream(0, "probe")
    weights = {name: value.float() for name, value in redraw(target.spec, 1, rng).items()}
    module = target.bare_network({name: value.to(target.device) for name, value in weights.items()}).cpu().double()
    inputs = target.tried_on.draw(1, rng, torch.float64)
    for probe in (inputs, torch.zeros_like(inputs)):
        outputs: Tensor | None = None
        # Where it fails, whether it is the code of the training is not known.
        with Forgiven(), DoublePrecision():
            outputs = module(probe)
        if outputs is not None:
            directions = torch.randn(outputs.numel(), PROJECTIONS, generator=rng, dtype=torch.float64)
            numbers: list[float] = (outputs.double().flatten() @ directions).tolist()
            return numbers
    return None


def difference(before: Sequence[float], here: Sequence[float]) -> float:
    """Return how far probes lie apart, relative to their size; infinite where they are not as many, or not numbers.

    Example:
        >>> difference([1.0, 2.0], [1.0, 2.0]), difference([1.0, 2.0], [1.0])
        (0.0, inf)
    """
    one, other = torch.tensor(before, dtype=torch.float64), torch.tensor(here, dtype=torch.float64)
    if one.shape != other.shape or not torch.equal(one.isfinite(), other.isfinite()):
        return math.inf
    one, other = (value.nan_to_num(0, 0, 0) for value in (one, other))
    size = float(one.square().sum().sqrt())
    return float((one - other).square().sum().sqrt()) / (size or 1.0)


def computes_otherwise(recorded: Any, here: Sequence[float] | None) -> str | None:
    """Say how far a target's outputs are from those that a checkpoint keeps; None where they are the same or not known.

    Args:
        recorded: what `probe_outputs` was; a file may hold anything here.
        here: what it is now.
    """
    if not isinstance(recorded, list) or not all(isinstance(value, float | int | None) for value in recorded):
        return None
    if here is None:
        return "it does not run any more on what it was tried on"
    apart = difference([math.nan if value is None else float(value) for value in recorded], here)
    if apart <= TOLERANCE:
        return None
    return f"with the same weights, outputs differ by {apart:.1e} of their size"
