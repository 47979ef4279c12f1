"""Convolutions of one network on a CPU: the layout in memory, and the products, that are fast there."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode


def channels_last(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters with the kernels of 2-d convolutions laid out channels last, as their outputs then are too.

    Pooling is an order of magnitude faster in this layout.
    """
    return {
        name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        for name, value in parameters.items()
    }


class GreyConvolutions(TorchFunctionMode):
    """Within it, 2-d convolutions of data with one channel are matrix products.

    For these torch's convolution takes several times as long in the backward pass, and it does not give its outputs
    channels last. Results differ by rounding only. All other convolutions are left alone, also where a gradient at
    their inputs is wanted.

    Example:
        >>> images, kernels = torch.ones(2, 1, 5, 5), torch.ones(3, 1, 3, 3)
        >>> with GreyConvolutions():
        ...     outputs = torch.conv2d(images, kernels, padding=1)
        >>> outputs.shape, float(outputs[0, 0, 0, 0])
        (torch.Size([2, 3, 5, 5]), 4.0)
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what was called, or the product in its place."""
        if func is torch.conv2d:
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    grey = input.dim() == 4 and input.shape[1] == 1 and not input.requires_grad
    if not grey or isinstance(padding, str) or _pair(dilation) != (1, 1):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    filters, _, *sizes = weight.shape
    vertical, horizontal = _pair(padding)
    padded = F.pad(input[:, 0], (horizontal, horizontal, vertical, vertical))
    windows = padded.unfold(1, sizes[0], _pair(stride)[0]).unfold(2, sizes[1], _pair(stride)[1])
    images, height, width = windows.shape[:3]
    # One row for each place in the window: copied in long pieces, and the product needs no other layout.
    columns = windows.permute(3, 4, 0, 1, 2).reshape(weight[0].numel(), -1).t()
    rows = weight.reshape(filters, -1).t().contiguous()  # so that its gradient is the faster one of two products
    outputs = columns @ rows if bias is None else torch.addmm(bias, columns, rows)
    return outputs.view(images, height, width, filters).permute(0, 3, 1, 2)
