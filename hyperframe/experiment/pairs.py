"""Distances of all pairs of a batch's rows, and the width of a kernel of them, for terms that drive networks apart."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

FLOOR = 64.0
"""The smallest width, in rounding errors of the rows' own size."""


def squared_distances(rows: Tensor) -> list[Tensor]:
    """Return the squared distances of all pairs of rows [networks, entries], differentiable.

    Part s of ⌊networks / 2⌋, counted from 1, holds that of each row and the one s rows before it, [networks], where the
    last row comes before the first. Of an even number of rows the last part has each pair twice.

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
    """Put what `squared_distances` gave into a row, [pairs]."""
    *others, last = parts
    count = len(last)
    return torch.cat([*others, last[: count // 2] if count == 2 * len(parts) else last])


def held_width(squares: Tensor, rows: Tensor) -> Tensor:
    """Return median / log(networks + 1) of squared distances [pairs] of rows, without a gradient: a kernel's width.

    Each network then has about as much from all others together as from itself. Where rows coincide the width is that
    of their rounding.

    References: Q. Liu, D. Wang (2016), Stein Variational Gradient Descent, section 5.
    """
    kind = torch.finfo(rows.dtype)
    rounding = FLOOR * kind.eps * torch.linalg.vector_norm(rows.detach(), dim=1).amax()
    floor = rounding.square().clamp(min=kind.tiny)
    return torch.maximum(squares.detach().median(), floor) / math.log(len(rows) + 1)
