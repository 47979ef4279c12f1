"""Samples of several processes as one batch, with gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    """All processes' rows; back go each process's own rows of the sum of what arrives in all of them."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor) -> Tensor:
        ctx.count = len(samples)
        parts = [torch.empty_like(samples) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, samples)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.count
        return total[first : first + ctx.count]


def gather(samples: Tensor) -> Tensor:
    """Rows of all processes, one process after the other, where torch.distributed is at work; else the samples.

    Every process gets the same rows and can make the same estimate H of them. Backwards, the gradients that arrive in
    all of W processes are summed, and each process gets its own rows of the sum: W · ∂H/∂(its rows), where all
    processes differentiate H. Behind that, DistributedDataParallel takes the mean of the parameters' gradients over the
    processes, which is the gradient of H, as of one process that has all samples. Where the processes' estimates
    differ, by random numbers of their own, it is the gradient of their mean.

    All processes must call it, backwards too, as often and with samples of one shape and type.

    Args:
        samples: [n, entries], the rows of this process.

    Returns:
        [W · n, entries].

    Example:
        >>> samples = torch.eye(2)
        >>> gather(samples) is samples                # one process only
        True
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return samples
    gathered: Tensor = _Gather.apply(samples.contiguous())
    return gathered
