"""Paths between two networks, straight in weights, straight or spherical in z; and their length and barrier."""

import torch
from torch import Tensor

from hyperframe import Weights

PARALLEL = 1e-6
"""The sine of an angle below which two vectors count as parallel."""


def straight(one: Weights, other: Weights, t: Tensor) -> Weights:
    """Return the direct path (1 − t) θ₁ + t θ₂.

    Args:
        one: weights θ₁ of one network, for each layer [1, filters, filter_size].
        other: weights θ₂ of one network.
        t: places from 0 to 1, [points].

    Returns:
        For each layer [points, filters, filter_size].

    Example:
        >>> ends = {"fc": torch.zeros(1, 1, 2)}, {"fc": torch.ones(1, 1, 2)}
        >>> straight(*ends, torch.tensor([0.0, 0.5]))["fc"].tolist()
        [[[0.0, 0.0]], [[0.5, 0.5]]]
    """
    part = t[:, None, None]
    return {layer: (1 - part) * value + part * other[layer] for layer, value in one.items()}


def linear(one: Tensor, other: Tensor, t: Tensor) -> Tensor:
    """Return the straight path (1 − t) z₁ + t z₂ between two vectors [entries] at t [points]: [points, entries]."""
    return (1 - t)[:, None] * one + t[:, None] * other


def spherical(one: Tensor, other: Tensor, t: Tensor) -> Tensor:
    """Return the path along the great circle between two vectors, with a norm that changes linearly.

    With ω the angle between them, the direction is (sin((1 − t)ω) ẑ₁ + sin(tω) ẑ₂) / sin ω. Normal z with many entries
    all have about the same norm; this path keeps it, while in the middle of the straight path it is √2 times smaller.
    Vectors that are parallel, opposite or zero have no such circle and are joined by the straight path.

    Args:
        one: a vector z₁, [entries].
        other: a vector z₂.
        t: places from 0 to 1, [points].

    Returns:
        [points, entries].

    References: K. Shoemake (1985), Animating Rotation with Quaternion Curves.

    Example:
        >>> ends = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> [round(x, 4) for x in spherical(*ends, torch.tensor([0.5]))[0].tolist()]
        [0.7071, 0.7071]
    """
    norms = one.norm(), other.norm()
    if min(norms) == 0:
        return linear(one, other, t)
    first, second = one / norms[0], other / norms[1]
    angle = torch.arccos((first @ second).clamp(-1, 1))
    if angle.sin().abs() < PARALLEL:
        return linear(one, other, t)
    weights = torch.stack([((1 - t) * angle).sin(), (t * angle).sin()], 1) / angle.sin()
    norm = (1 - t) * norms[0] + t * norms[1]
    path: Tensor = norm[:, None] * (weights @ torch.stack([first, second]))
    return path


def length(points: Tensor) -> float:
    """Return the length of the broken line through points [points, entries].

    Example:
        >>> length(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]))
        6.0
    """
    return float(points.diff(dim=0).double().norm(dim=1).sum())


def relative_length(points: Tensor) -> float:
    """Return the length of the broken line through points over the distance of its ends; 1 where they coincide."""
    distance = float((points[-1] - points[0]).double().norm())
    return length(points) / distance if distance else 1.0


def barrier(losses: Tensor, t: Tensor) -> float:
    """Return the greatest excess of losses [points] over the straight line between the ends' losses; at least 0.

    max_t L(t) − ((1 − t) L(0) + t L(1)), where t [points] goes from 0 to 1.

    References: R. Entezari, H. Sedghi, O. Saukh, B. Neyshabur (2022), The Role of Permutation Invariance in Linear Mode
        Connectivity of Neural Networks. J. Frankle et al. (2020) take the mean of the ends' losses instead of the line.

    Example:
        >>> barrier(torch.tensor([1.0, 4.0, 2.0]), torch.tensor([0.0, 0.5, 1.0]))
        2.5
    """
    excess = losses - ((1 - t) * losses[0] + t * losses[-1])
    return max(0.0, float(excess.max()))
