"""Convolutions of one network on a CPU: the layout in memory, and the products, that are fast there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hyperframe.runtime.precision import as_autocast_does


def channels_last(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters with the kernels of 2-d convolutions laid out channels last, as their outputs then are too.

    Pooling is an order of magnitude faster in this layout.
    """
    return {
        name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        for name, value in parameters.items()
    }


class GreyConvolutions(TorchFunctionMode):
    """Within it, 2-d convolutions of data with one channel are matrix products, their outputs channels last.

    For these torch's convolution takes several times as long in the backward pass (32 filters of 5 × 5), and it gives
    its outputs in the other layout. Results differ by rounding only. Left alone are convolutions with fewer filters
    than a kernel has entries, for which the product would need more memory than the outputs and be slower, those where
    a gradient at the inputs is wanted, and all of other data.

    Example:
        >>> images, kernels = torch.ones(2, 1, 5, 5), torch.ones(9, 1, 3, 3)
        >>> with GreyConvolutions():
        ...     outputs = torch.conv2d(images, kernels, padding=1)
        >>> outputs.shape, float(outputs[0, 0, 0, 0])
        (torch.Size([2, 9, 5, 5]), 4.0)
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
    steps, (vertical, horizontal) = _two(stride), _two(padding)
    grey = input.dim() == weight.dim() == 4 and input.shape[1] == weight.shape[1] == 1 and not input.requires_grad
    usual = min(*steps, vertical + 1, horizontal + 1) > 0 and _two(dilation) == (1, 1)
    fits = bias is None or (bias.shape, bias.dtype) == (weight.shape[:1], weight.dtype)
    if not (grey and usual and fits and weight[0].numel() <= len(weight)):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    # Before windows make them larger.
    input, weight, bias = as_autocast_does(input), as_autocast_does(weight), as_autocast_does(bias)
    filters, _, *sizes = weight.shape
    padded = F.pad(input[:, 0], (horizontal, horizontal, vertical, vertical))
    windows = padded.unfold(1, sizes[0], steps[0]).unfold(2, sizes[1], steps[1])
    images, height, width = windows.shape[:3]
    # One row for each place in the window: copied in long pieces, and the product needs no other layout. The bias is
    # one more, at which every window has a one: this takes no pass over the outputs of its own, nor one back.
    places = windows.permute(3, 4, 0, 1, 2)
    columns = input.new_empty(weight[0].numel() + (bias is not None), images * height * width)
    columns[: weight[0].numel()].view(places.shape).copy_(places)
    columns[weight[0].numel() :] = 1
    kernels = weight.reshape(filters, -1)
    rows = kernels if bias is None else torch.cat([kernels, bias[:, None]], 1)
    outputs = columns.t() @ rows.t().contiguous()  # so that the gradient is the faster one of two products
    return outputs.view(images, height, width, filters).permute(0, 3, 1, 2)


def _two(value: int | Sequence[int] | str) -> tuple[int, int]:
    """An option of a convolution for both axes; (-1, -1) for what only torch itself may read."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[1]) if not isinstance(value, str) and len(value) == 2 else (-1, -1)
