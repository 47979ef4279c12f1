"""Functions that torch has no batched form of, made of those that it has."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode


class BatchedWeightNorm(TorchFunctionMode):
    """Within it, torch's weight_norm is a quotient and a product, which run for many networks at once.

    Its own operation would run one network after the other, and warn of it.

    Example:
        >>> direction, factor = torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0]])
        >>> with BatchedWeightNorm():
        ...     torch._weight_norm(direction, factor, 0)
        tensor([[6., 8.]])
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what was called, or the product in its place."""
        if func is torch._weight_norm:
            return _weight_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    dims = list(range(v.dim())) if dim == -1 else [axis for axis in range(v.dim()) if axis != dim % v.dim()]
    normed: Tensor = v * (g / torch.linalg.vector_norm(v, dim=dims, keepdim=True))
    return normed


def has_parametrizations(module: nn.Module) -> bool:
    """Whether parameters of a module are computed from others as `torch.nn.utils.parametrize` does it."""
    return any(isinstance(part, ParametrizationList) for part in module.modules())
