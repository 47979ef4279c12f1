"""The gauge `max_scale`: the largest entry of every filter has the magnitude 1, and its readers make up for it."""

import torch
from torch import Tensor

import hyperframe as hf


def largest_factors(carried: Tensor, segments: Tensor | None, labels: int) -> Tensor:
    """Return factors that give the filters of each label the largest magnitude 1; for zeros, 1 with a gradient of zero.

    Args:
        carried: the filters that carry labels, [batch, filters, entries].
        segments: the label of each filter, int64 [filters]; None where each filter has a label of its own.
        labels: the number of labels.

    Returns:
        The factors, [batch, labels].

    Example:
        >>> largest_factors(torch.tensor([[[1.0, -4.0], [0.0, 0.0]]]), None, 2)
        tensor([[0.2500, 1.0000]])
    """
    largest = carried.abs().amax(2)
    if segments is not None:
        index = segments.expand_as(largest)
        largest = largest.new_zeros(len(largest), labels).scatter_reduce(1, index, largest, "amax")
    alive = largest > 0
    # The size is taken out without a gradient, so that the square in the derivative of 1 / x does not overflow.
    size = torch.where(alive, largest, 1.0).detach()
    return torch.where(alive, size / torch.where(alive, largest, 1.0), 1.0) / size


class MaxScale(hf.types.Gauge):
    """Fixes positive scaling: max_k |θ_{l,i}[k]| = 1 for the filter that first writes each unit.

    A filter's carrier is its kernel and bias or, behind a normalisation, its scale and shift. Where several filters
    carry one factor the largest entry of all of them counts. All weights that write the unit are multiplied by
    1 / max |θ|, all that read it are divided by it. Where a carrier is zero the factor is 1, with a gradient of zero.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"scaling"})

    def __init__(self, orbits: hf.targets.Orbits) -> None:
        self._scaling = orbits.scaling

    def __call__(self, weights: hf.Weights) -> hf.Weights:
        """Return the representative of each weight set."""
        return hf.targets.propagate_factors(self._scaling, weights, largest_factors)


def build(options: object, orbits: hf.targets.Orbits) -> MaxScale:
    """Make the gauge for a target's symmetries; it has no options."""
    return MaxScale(orbits)


@hf.hookimpl
def hyperframe_gauges() -> list[hf.Component]:
    """Register the gauge."""
    return [
        hf.Component(
            name="max_scale",
            factory=build,
            summary="the largest entry of every filter has the magnitude 1, its readers divide by the factor",
        )
    ]
