"""Distances of all pairs of a batch's rows, and a kernel's bandwidth of them, for terms that drive networks apart."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

FLOOR = 64.0
"""The smallest bandwidth, in rounding errors of the rows' own size."""


def squared_distances(rows: Tensor) -> list[Tensor]:
    """Return the squared distances of all pairs of rows [networks, entries], differentiable.

    Of the ⌊networks / 2⌋ parts, each [networks], part s (from 1) has at place i the squared distance of the rows i and
    i − s, modulo the number of rows. If that number is even, the last part has each of its pairs twice.

    Example:
        >>> squared_distances(torch.tensor([[0.0], [1.0], [3.0]]))
        [tensor([9., 1., 4.])]
    """
    # Recomputed for the gradient: kept in memory, the differences would be half as many copies of the rows as rows.
    return [
        checkpoint(_squares, rows, step, use_reentrant=False, preserve_rng_state=False)
        for step in range(1, len(rows) // 2 + 1)
    ]


def _squares(rows: Tensor, step: int) -> Tensor:
    return (rows - rows.roll(step, 0)).square().sum(1)


def once_each(parts: Sequence[Tensor]) -> Tensor:
    """Put the parts of `squared_distances` into one row, [pairs], with each pair once."""
    *others, last = parts
    count = len(last)
    return torch.cat([*others, last[: count // 2] if count == 2 * len(parts) else last])


def median_bandwidth(squares: Tensor, rows: Tensor) -> Tensor:
    """Return the median heuristic's h of a kernel exp(−‖a − b‖² / h): median ‖a − b‖² / log(networks + 1).

    The kernels of a network with all others then add up to about that with itself, which is 1. No gradient passes
    through h. Where rows coincide h is that of their rounding.

    Args:
        squares: squared distances of all pairs, [pairs].
        rows: of which they are, [networks, entries].

    References: Q. Liu, D. Wang (2016), Stein Variational Gradient Descent, section 5.
    """
    kind = torch.finfo(rows.dtype)
    rounding = FLOOR * kind.eps * torch.linalg.vector_norm(rows.detach(), dim=1).amax()
    floor = rounding.square().clamp(min=kind.tiny)
    return torch.maximum(squares.detach().median(), floor) / math.log(len(rows) + 1)
