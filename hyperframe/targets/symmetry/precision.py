"""One precision for all that a module computes, whatever its forward asks for.

Symmetries are tried in float64, where rounding is small. A forward that says `x.float()`, or makes tensors of its own
in float32, would meet weights of another type, or lose what the trial is to see.
"""

from typing import Any

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class DoublePrecision(TorchDispatchMode):
    """Within it casts and new tensors of fewer digits are float64, and so is all that operations make of such tensors.

    Whole numbers and truth values stay what they are, and a tensor that an operation changes in place keeps its type.

    Example:
        >>> with DoublePrecision():
        ...     found = torch.eye(2) @ torch.ones(2, dtype=torch.float64).half()
        >>> found
        tensor([1., 1.], dtype=torch.float64)
    """

    supports_higher_order_operators = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, with wider types."""
        kwargs = dict(kwargs or {})
        if isinstance(func, HigherOrderOperator):  # a branch or a loop, whose steps are as they are
            return func(*args, **kwargs)
        if kwargs.get("dtype") in _WIDER:
            kwargs["dtype"] = _WIDER[kwargs["dtype"]]
        schema = func._schema
        if any(argument.alias_info is not None for argument in (*schema.arguments, *schema.returns)):
            result = func(*args, **kwargs)  # a view, or a change in place
            return _widen(result) if func is torch.ops.aten.lift_fresh.default else result  # torch.tensor(…)
        args, kwargs = tree_map_only(Tensor, _widen, (args, kwargs))
        return tree_map_only(Tensor, _widen, func(*args, **kwargs))


def _widen(value: Tensor) -> Tensor:
    return value.to(_WIDER[value.dtype]) if value.dtype in _WIDER else value
