"""Advice, in words, for modules that are refused: only ways that have been tried."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

DECIDES = (
    "it decides by values that it computes, which networks that run together cannot, with a spec or without; compute "
    "both and take torch.where(condition, a, b)"
)
"""Of a module whose forward has an `if` that depends on values."""

_WITHOUT_BATCHES = re.compile(r"Batching rule not implemented for aten::(\w+)")


def of_outputs(outputs: Any) -> str:
    """Say how to get one tensor of what a module returns: by a module around it.

    Example:
        >>> of_outputs(3)
        'return the logits'
    """
    place = _place(outputs)
    if place is None:
        return "return the logits"
    return (
        "hand over a module around it that returns one of them: self.net = net, and forward(self, x) returns "
        f"self.net(x)[{place!r}]"
    )


def _place(outputs: Any) -> Any:
    """Find where in a tuple or a mapping a tensor stands that could be the outputs, or else any; None without one."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(outputs, tuple | list):
        items = enumerate(outputs)
    elif hasattr(outputs, "items") and callable(outputs.items):
        items = outputs.items()
    tensors = [(place, value) for place, value in items if isinstance(value, Tensor)]
    return next((place for place, value in tensors if value.dim() == 2), tensors[0][0] if tensors else None)


def of_inputs(module: nn.Module) -> str:
    """Say how one input can stand for the several that a module's forward asks for; empty where it asks for one.

    Example:
        >>> of_inputs(nn.Bilinear(3, 4, 2)).partition(" and ")[0]
        'its forward takes 2 inputs (input1, input2)'
    """
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return ""
    needed = [one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(needed) < 2:
        return ""
    parts = ["x[:, :K]", "x[:, K:]"] if len(needed) == 2 else ["x[:, :K]", "x[:, K:L]", "…"]
    return (
        f"its forward takes {len(needed)} inputs ({', '.join(needed)}) and is given one: hand over data with "
        f"{'both' if len(needed) == 2 else 'all'} in one tensor, and a module around it that takes them apart: "
        f"self.net = net, and forward(self, x) returns self.net({', '.join(parts)})"
    )


def of_failure(error: BaseException) -> str:
    """Say why a module cannot run for several networks at once, and what helps; empty if it fails for another reason.

    Example:
        >>> of_failure(RuntimeError("Batching rule not implemented for aten::histc. We could")).partition(":")[0]
        'torch cannot run histc for several networks at once'
    """
    text = str(error)
    if "data-dependent" in text.lower() or "GuardOnDataDependent" in type(error).__name__:
        return DECIDES
    found = _WITHOUT_BATCHES.search(text)
    if found is None:
        return ""
    return f"torch cannot run {found[1]} for several networks at once: write it with other operations"
