"""Rules of comparing and choosing: x > 0 does not see a positive factor, so `where(x > 0, x, 0)` is a ReLU."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.labels import ZERO, Activation, uniform
from hyperframe.targets.tracing.rules.elementwise import combine, map_codes
from hyperframe.targets.tracing.rules.registry import Operation, rule


@rule("gt", "ge", "lt", "le", "eq", "ne")
def compare(operation: Operation) -> Activation | None:
    """Which of two is larger: both have one factor, the answer has none; whether they are equal, also one sign."""
    both = _combine(operation, operation.args)
    if both is None:
        return None
    if operation.name not in ("eq", "ne"):
        operation.found.signs.freeze(both.sign)
    return both.without_factors()


@rule("signbit", "logical_not", "isnan", "isinf", "isfinite", "isposinf", "isneginf")
def classify(operation: Operation) -> Activation | None:
    """Tests whose answer is the same for all positive multiples, and, but for tests of the sign, for negative ones."""
    value = operation.args[0]
    if not isinstance(value, Activation):
        return None
    if operation.name in ("signbit", "isposinf", "isneginf"):
        operation.found.signs.freeze(value.sign)
    result = attrs.evolve(value.without_factors(), code=map_codes(operation.found, value))
    operation.found.note(result)
    return result


@rule("sign", "sgn")
def sign(operation: Operation) -> Activation | None:
    """The sign of a number: no factor passes, a sign does."""
    result = classify(operation)
    return None if result is None else attrs.evolve(result, sign=operation.args[0].sign)


@rule("where", "masked_fill")
def choose(operation: Operation) -> Activation | None:
    """One of two, which have units, factors and signs in common, by a condition that none of them changes."""
    if operation.name == "where":
        condition, one, other = (*operation.args, None, None)[:3]
    else:
        other, condition, one = operation.get(0, "self"), operation.get(1, "mask"), operation.get(2, "value")
    if not isinstance(condition, Activation | Tensor):
        return None
    value, mask = _combine(operation, (one, other)), combine(attrs.evolve(operation, args=(condition,)), keep=False)
    if value is None or mask is None:
        return None
    # Of any factor and sign, as zeros are, for a condition changes none.
    mask = attrs.evolve(mask, scale=uniform(mask.shape, ZERO), sign=uniform(mask.shape, ZERO))
    return combine(attrs.evolve(operation, args=(value, mask)), keep=True)


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
def take_extreme(operation: Operation) -> Activation | None:
    """The larger or smaller of several: as a sum, but signs do not pass."""
    bounds = [value for value in (*operation.args, *operation.kwargs.values()) if value is not None]
    result = _combine(operation, bounds)
    return None if result is None else operation.found.freeze_signs(result)


def _combine(operation: Operation, values: Any) -> Activation | None:
    """Unite the labels of several values entry by entry, numbers among them."""
    tensors = [torch.tensor(value) if isinstance(value, int | float) else value for value in values]
    if not all(isinstance(value, Activation | Tensor) for value in tensors):
        return None
    return combine(attrs.evolve(operation, args=tuple(tensors)), keep=True)
