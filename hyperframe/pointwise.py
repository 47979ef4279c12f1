"""What functions of each entry do to labels: of one activation, of several, sums and products."""

from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.discovery import Discovery, View
from hyperframe.labels import FIXED, ZERO, Activation, compact
from hyperframe.rules import Operation, lifted, rule


@rule("relu", "leaky_relu", "rrelu_eval", "abs")
def homogeneous(operation: Operation) -> Activation | None:
    """f(a·x) = a·f(x) for a > 0: factors pass, signs do not."""
    return _through(operation, scale=True, sign=False)


@rule("clamp", "clamp_min", "clamp_max", "threshold", "hardtanh")
def clipped(operation: Operation) -> Activation | None:
    """Clipping at zero is a ReLU; between −a and a it is odd; else nothing passes."""
    bounds = operation.args[1:] if operation.name != "clamp_max" else (None, operation.args[1])
    if operation.name == "hardtanh" and not bounds:
        bounds = (-1.0, 1.0)
    low = bounds[0] if bounds else operation.kwargs.get("min")
    high = bounds[1] if len(bounds) > 1 else operation.kwargs.get("max")
    if any(isinstance(bound, Tensor | Activation | View) for bound in (low, high)):
        return None
    if operation.name == "threshold":
        return _through(operation, scale=low == 0 and high == 0, sign=False)
    if (low, high) in ((0, None), (None, 0)):
        return _through(operation, scale=True, sign=False)
    return _through(operation, scale=False, sign=low is not None and high is not None and low == -high and low < high)


@rule("tanh", "sin", "asin", "atan", "sinh", "asinh", "atanh", "erf", "softsign", "hardshrink", "softshrink", "tan")
def odd(operation: Operation) -> Activation | None:
    """f(−x) = −f(x): signs pass, factors do not."""
    return _through(operation, scale=False, sign=True)


@rule("neg", "dropout", "feature_dropout", "alpha_dropout", "identity", "_to_copy", "to", "positive", "type_as")
def linear(operation: Operation) -> Activation | None:
    """A factor that is the same for all: everything passes, unless numbers become whole."""
    return _through(operation, scale=operation.floating, sign=operation.floating)


@rule("glu")
def gated_half(operation: Operation) -> Activation | None:
    """One half times the sigmoid of the other: units unite, the first half's factor and sign pass."""
    value, dim, found = operation.args[0], operation.get(1, "dim", -1), operation.found
    if not isinstance(value, Activation):
        return None
    fields = (value.unit, value.scale, value.sign, value.code)
    first, gate = (Activation(*parts) for parts in zip(*(field.chunk(2, dim) for field in fields), strict=True))
    found.scales.freeze(gate.scale)
    found.signs.freeze(gate.sign)
    united = _united(found, first, gate, keep=False)
    result = Activation(united.unit, compact(first.scale), compact(first.sign), united.code)
    found.note(result)
    return result


@rule(
    "gelu",
    "silu",
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "elu",
    "celu",
    "selu",
    "softplus",
    "mish",
    "log_sigmoid",
    "logsigmoid",
    "relu6",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "square",
    "pow",
    "reciprocal",
    "cos",
    "log1p",
    "log2",
    "log10",
    "expm1",
    "exp2",
    "erfc",
    "acos",
    "acosh",
    "floor",
    "ceil",
)
def pointwise(operation: Operation) -> Activation | None:
    """Any other function of each entry alone: units pass, factors and signs do not."""
    return together(operation, keep=False)


def _through(operation: Operation, *, scale: bool, sign: bool) -> Activation | None:
    """A function of each entry; `scale` and `sign` tell whether factors and signs pass."""
    value = operation.args[0]
    if not isinstance(value, Activation) or any(isinstance(other, Activation | View) for other in operation.args[1:]):
        return None
    found = operation.found
    if not scale:
        found.scales.freeze(value.scale)
    if not sign:
        found.signs.freeze(value.sign)
    both = scale or sign  # then zero stays zero
    result = Activation(
        value.unit,
        value.scale if scale else _without(value.scale, keep_zero=both),
        value.sign if sign else _without(value.sign, keep_zero=both),
        new_fixed_codes(found, value),
    )
    found.note(result)
    return result


def _without(labels: Tensor, *, keep_zero: bool) -> Tensor:
    """No factors; where zero stays zero it is still free of them."""
    if keep_zero:
        return compact(torch.where(labels == ZERO, ZERO, FIXED))
    return labels.new_full((1,) * labels.dim(), FIXED).expand(labels.shape)


def new_fixed_codes(found: Discovery, value: Activation) -> Tensor:
    """Codes after a function of each entry: units keep theirs, other entries get one for each value they had."""
    loose = value.unit == FIXED
    if not bool(loose.any()):
        return value.code
    distinct, places = torch.unique(value.code[loose], return_inverse=True)
    code = value.code.clone()
    code[loose] = found.new_codes(distinct.shape)[places]
    return compact(code)


def together(operation: Operation, *, keep: bool) -> Activation | None:
    """A function of several activations, entry by entry: units unite; with `keep`, so do factors and signs."""
    found = operation.found
    values = [value for value in operation.args if isinstance(value, Activation | Tensor)]
    if any(isinstance(value, View) for value in operation.args):
        return None
    parts = [_broadcast(lifted(found, value), operation.shape) for value in values]
    result = parts[0]
    for part in parts[1:]:
        result = _united(found, result, part, keep=keep)
    if not keep:
        for part in parts:
            found.scales.freeze(part.scale)
            found.signs.freeze(part.sign)
        none = torch.full((1,) * len(operation.shape), FIXED).expand(operation.shape)
        result = attrs.evolve(result, scale=none, sign=none)
    found.note(result)
    return result


def _broadcast(value: Activation, shape: Any) -> Activation:
    return value.mapped(lambda labels: labels.expand(shape))


def _united(found: Discovery, one: Activation, other: Activation, *, keep: bool) -> Activation:
    """Two activations entry by entry: where both are of a unit it is the same one; factors unite where wanted."""
    inside_one, inside_other = one.unit != FIXED, other.unit != FIXED
    both = inside_one & inside_other
    first = torch.where(both, one.unit, FIXED)
    found.units.unite(compact(first), compact(torch.where(both, other.unit, FIXED)))
    # What is of no unit must be equal where units change places.
    if bool((inside_one & ~inside_other).any()):
        found.note_with(one.unit, torch.where(inside_other, FIXED, other.code))
    if bool((inside_other & ~inside_one).any()):
        found.note_with(other.unit, torch.where(inside_one, FIXED, one.code))
    if bool((both & (one.code != other.code)).any()):
        found.note_with(one.unit, torch.where(both, other.code, FIXED))
    unit = compact(torch.where(inside_one, one.unit, other.unit))
    code = torch.where(inside_one, one.code, other.code)
    loose = ~inside_one & ~inside_other
    if bool(loose.any()):
        code = torch.where(loose, _pair_codes(found, one.code, other.code), code)
    scale, sign = one.scale, one.sign
    if keep:
        found.scales.unite(one.scale, other.scale)
        found.signs.unite(one.sign, other.sign)
        scale = compact(torch.where(one.scale == ZERO, other.scale, one.scale))
        sign = compact(torch.where(one.sign == ZERO, other.sign, one.sign))
    return Activation(unit, scale, sign, compact(code))


def _pair_codes(found: Discovery, one: Tensor, other: Tensor) -> Tensor:
    """A new code for each pair of codes that occurs."""
    pairs = torch.stack([one.expand(other.shape), other.expand(one.shape)], -1).reshape(-1, 2)
    distinct, places = torch.unique(pairs, dim=0, return_inverse=True)
    return found.new_codes([len(distinct)])[places].view(torch.broadcast_shapes(one.shape, other.shape))


def added(operation: Operation) -> Activation | None:
    """A sum: units, factors and signs of both are the same; a number that is added lets neither pass."""
    other = operation.args[1]
    if isinstance(other, int | float):
        return _through(operation, scale=other == 0, sign=other == 0)
    return together(operation, keep=True)


@rule("div")
def multiplied(operation: Operation) -> Activation | None:
    """A product or quotient: a factor passes where the other side has none; where both have one, both are frozen."""
    one, other = operation.args[:2]
    if operation.kwargs.get("rounding_mode") is not None:
        return None
    if isinstance(other, int | float | complex):
        return _through(operation, scale=True, sign=True)
    if not all(isinstance(value, Activation | Tensor) for value in (one, other)):
        return None
    found = operation.found
    parts = [_broadcast(lifted(found, value), operation.shape) for value in (one, other)]
    result = _united(found, *parts, keep=False)
    fields = []
    for name, partition in (("scale", found.scales), ("sign", found.signs)):
        a, b = getattr(parts[0], name), getattr(parts[1], name)
        if operation.name == "div":
            partition.freeze(b)
            b = _without(b, keep_zero=False)
        zero = (a == ZERO) | (b == ZERO)
        both = (a >= 0) & (b >= 0) & ~zero
        square = both & (a == b) & torch.tensor(name == "sign")  # one sign twice is none
        partition.freeze(torch.where(both & ~square, a, FIXED))
        partition.freeze(torch.where(both & ~square, b, FIXED))
        product = torch.where(both, FIXED, torch.where(a >= 0, a, b))
        fields.append(compact(torch.where(zero, ZERO, product)))
    result = attrs.evolve(result, scale=fields[0], sign=fields[1])
    found.note(result)
    return result
