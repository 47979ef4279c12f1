"""Where the channels of a user's images stand: [examples, channels, height, width] of what is handed over."""

from collections.abc import Sequence

from torch import Tensor

from hyperframe.errors import notice

OF_IMAGES = (1, 3)
"""Channels of images that are grey or coloured."""


def channels_first(x: Tensor, where: str) -> Tensor:
    """Inputs to train on, images whose channels stand last with the channels first; a notice says so.

    Example:
        >>> import torch, warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     channels_first(torch.zeros(2, 8, 6, 3), "x").shape
        torch.Size([2, 3, 8, 6])
    """
    if x.dim() != 4 or x.shape[3] not in OF_IMAGES or x.shape[1] in OF_IMAGES:
        return x
    moved = x.movedim(3, 1).contiguous()
    notice(f"{where} is read as images with the channels last: {list(x.shape)} becomes {list(moved.shape)}")
    return moved


def laid_out(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Inputs as a target takes them, where only the channels stand last, or the one channel has no axis.

    Example:
        >>> import torch
        >>> laid_out(torch.zeros(2, 8, 6, 3), (3, 8, 6)).shape, laid_out(torch.zeros(2, 8, 6), (1, 8, 6)).shape
        (torch.Size([2, 3, 8, 6]), torch.Size([2, 1, 8, 6]))
    """
    wanted = tuple(shape)
    if len(wanted) != 3 or tuple(x.shape[1:]) == wanted:
        return x
    if x.dim() == 3 and (1, *x.shape[1:]) == wanted:
        return x[:, None]
    return x.movedim(3, 1) if x.dim() == 4 and (x.shape[3], *x.shape[1:3]) == wanted else x
