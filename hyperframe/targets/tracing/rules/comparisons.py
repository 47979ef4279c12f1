"""Rules of comparing and choosing: x > 0 does not see a positive factor, so `where(x > 0, x, 0)` is a ReLU."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, compact
from hyperframe.targets.tracing.rules.elementwise import new_fixed_codes, together
from hyperframe.targets.tracing.rules.registry import Operation, rule


@rule("gt", "ge", "lt", "le", "eq", "ne")
def compared(operation: Operation) -> Activation | None:
    """Which of two is larger: both have one factor, the answer has none; whether they are equal, also one sign."""
    both = _together(operation, operation.args)
    if both is None:
        return None
    if operation.name not in ("eq", "ne"):
        operation.found.signs.freeze(both.sign)
    return attrs.evolve(both, scale=_all(FIXED, both), sign=_all(FIXED, both))


@rule("signbit", "logical_not", "isnan", "isinf", "isfinite", "isposinf", "isneginf")
def truth(operation: Operation) -> Activation | None:
    """Tests that all positive multiples of a number pass as well; so does its negative, but for tests of the sign."""
    value = operation.args[0]
    if not isinstance(value, Activation):
        return None
    if operation.name in ("signbit", "isposinf", "isneginf"):
        operation.found.signs.freeze(value.sign)
    result = Activation(value.unit, _all(FIXED, value), _all(FIXED, value), new_fixed_codes(operation.found, value))
    operation.found.note(result)
    return result


@rule("sign", "sgn")
def signs(operation: Operation) -> Activation | None:
    """A number's sign has no factor."""
    result = truth(operation)
    return None if result is None else attrs.evolve(result, sign=operation.args[0].sign)


@rule("where", "masked_fill")
def chosen(operation: Operation) -> Activation | None:
    """One of two, which have units, factors and signs in common, by a condition that none of them changes."""
    if operation.name == "where":
        condition, one, other = (*operation.args, None, None)[:3]
    else:
        other, condition, one = operation.get(0, "self"), operation.get(1, "mask"), operation.get(2, "value")
    if not isinstance(condition, Activation | Tensor):
        return None
    value, mask = _together(operation, (one, other)), together(attrs.evolve(operation, args=(condition,)), keep=False)
    if value is None or mask is None:
        return None
    # Of any factor and sign, as zeros are, for a condition changes none.
    mask = attrs.evolve(mask, scale=_all(ZERO, mask), sign=_all(ZERO, mask))
    return together(attrs.evolve(operation, args=(value, mask)), keep=True)


@rule(
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "max.other",
    "min.other",
    "clamp.Tensor",
    "clamp_min.Tensor",
    "clamp_max.Tensor",
)
def extreme(operation: Operation) -> Activation | None:
    """The larger or smaller of several: as a sum, but signs do not pass."""
    bounds = [value for value in (*operation.args, *operation.kwargs.values()) if value is not None]
    result = _together(operation, bounds)
    if result is None:
        return None
    operation.found.signs.freeze(result.sign)
    return attrs.evolve(result, sign=compact(torch.where(result.sign == ZERO, ZERO, FIXED)))


def _together(operation: Operation, values: Any) -> Activation | None:
    """Values entry by entry, numbers among them, with one unit, factor and sign for all."""
    tensors = [torch.tensor(value) if isinstance(value, int | float) else value for value in values]
    if not all(isinstance(value, Activation | Tensor) for value in tensors):
        return None
    return together(attrs.evolve(operation, args=tuple(tensors)), keep=True)


def _all(label: int, like: Activation) -> Tensor:
    return torch.full((1,) * len(like.shape), label).expand(like.shape)
