"""Factors or signs on labels, found or applied in a walk over the layers, on which gauges work."""

from collections.abc import Callable

import torch
from torch import Tensor

from hyperframe.targets.symmetry.orbits import Orbits
from hyperframe.targets.symmetry.stages import LabelOrbit, Stage
from hyperframe.types import Weights

Factor = Callable[[Tensor, Tensor | None, int], Tensor]
"""Of carriers [batch, filters, entries], their segments and the number of labels it makes factors [batch, labels]."""


def propagate_factors(orbit: LabelOrbit, weights: Weights, factor: Factor) -> Weights:
    """Give every label the factor that its first carrier asks for, in one walk over the layers.

    Args:
        orbit: the labels.
        weights: for each layer [batch, filters, filter_size].
        factor: what it asks for.
    """
    first = next(iter(weights.values()))
    # One factor a label, and a last column of ones for entries without a label.
    factors = first.new_ones(len(first), orbit.count + 1)
    result = dict(weights)
    for stage in orbit.stages:
        theta = stage.take(result[stage.layer])
        theta = stage.divide(theta, factors)
        if len(stage.anchors):
            found = factor(carriers(stage, theta), stage.segments, len(stage.anchored))
            factors = factors.index_copy(1, stage.anchored, found)
        theta = stage.multiply(theta, factors)
        result[stage.layer] = stage.put(result[stage.layer], theta)
    return result


def normalise_kernels(of: Orbits, weights: Weights) -> Weights:
    """Give kernels before a normalisation the norm √n of their n entries, and no bias that it takes away.

    Args:
        of: the target's symmetries.
        weights: for each layer [batch, filters, filter_size].
    """
    result = dict(weights)
    for layer, column in of.shifts.items():
        theta = result[layer].clone()
        theta[:, :, column] = 0
        result[layer] = theta
    return propagate_factors(of.normalisation, result, norm_factors)


def apply_factors(orbit: LabelOrbit, weights: Weights, factors: Tensor) -> Weights:
    """Multiply by factors [batch, labels + 1] where labels are written, divide where they are read; the last is 1."""
    result = dict(weights)
    for stage in orbit.stages:
        theta = stage.take(result[stage.layer])
        theta = stage.multiply(stage.divide(theta, factors), factors)
        result[stage.layer] = stage.put(result[stage.layer], theta)
    return result


def norm_factors(carried: Tensor, segments: Tensor | None = None, labels: int = 0) -> Tensor:
    """Return factors [batch, labels] that give what carries a label the norm √n of its n entries; 1 where it is zero.

    Example:
        >>> norm_factors(torch.tensor([[[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]))
        tensor([[0.4000, 1.0000]])
    """
    # The largest entry is taken out first: squares neither overflow nor vanish.
    largest = carried.detach().abs().amax(2)
    entries: Tensor | int = carried.shape[2]
    if segments is not None:
        index = segments.expand_as(largest)
        entries = sum_by_label(torch.full_like(largest[:1], carried.shape[2]), segments, labels)
        largest = largest.new_zeros(len(largest), labels).scatter_reduce(1, index, largest, "amax")
    alive = largest > 0
    largest = torch.where(alive, largest, 1.0)
    each = largest if segments is None else largest[:, segments]
    squares = sum_by_label((carried / each[:, :, None]).square().sum(2), segments, labels)
    return torch.where(alive, (entries / torch.where(alive, squares, 1.0)).sqrt() / largest, 1.0)


def sum_by_label(values: Tensor, segments: Tensor | None, labels: int) -> Tensor:
    """Sum over the filters of each label: [batch, filters] give [batch, labels]."""
    return values if segments is None else values.new_zeros(len(values), labels).index_add(1, segments, values)


def carriers(stage: Stage, theta: Tensor) -> Tensor:
    """Take of a stage's columns theta what carries the labels that it writes first: [batch, filters, entries]."""
    if len(stage.anchors) < theta.shape[1]:
        theta = theta[:, stage.anchors]
    # Else they are all columns, in order.
    return theta[:, :, stage.carrier] if len(stage.carrier) < theta.shape[2] else theta
