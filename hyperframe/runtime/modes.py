"""The modes of autograd in which a caller may be."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def with_gradients(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take gradients, and make tensors that can have some, whatever mode its caller is in.

    Example:
        >>> with torch.inference_mode():
        ...     with_gradients(torch.is_grad_enabled)(), torch.is_grad_enabled()
        (True, False)
    """

    @wraps(function)
    def within(*arguments: P.args, **named: P.kwargs) -> R:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*arguments, **named)

    return within
