"""Rules of functions of each entry: of one activation, of several, sums and products."""

import math
from fractions import Fraction
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.factors import Exponent
from hyperframe.targets.tracing.findings import View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, compact, distinct_pairs, uniform
from hyperframe.targets.tracing.rules.registry import Operation, lift, rule
from hyperframe.targets.tracing.state import Discovery

EPSILON = 1e-6
"""Bounds from below that only keep a divisor from zero are no greater, such as that of `F.normalize`."""

MAX_ROOT = 64
"""The highest root that exponents are taken for, such as 3 for 0.333…"""

ROUNDING = 1e-12
"""How far an exponent may be from such a fraction."""


POINTWISE = (
    *("gelu", "silu", "sigmoid", "hardsigmoid", "hardswish", "elu", "celu", "selu", "softplus", "mish"),
    *("log_sigmoid", "logsigmoid", "relu6", "exp", "log", "log1p", "log2", "log10", "expm1", "exp2"),
    *("erfc", "acos", "acosh", "floor", "ceil"),
)
"""Functions of each entry that let neither factors nor signs pass."""


@rule("relu", "leaky_relu", "rrelu")
def homogeneous(operation: Operation) -> Activation | None:
    """f(a·x) = a·f(x) for a > 0: factors pass, signs do not."""
    return _pass_through(operation, scale=1, sign=None)


@rule("abs", "cos", "cosh", "sinc")
def even(operation: Operation) -> Activation | None:
    """f(−x) = f(x): the sign ends here, and nothing needs to read it; of an absolute value the factor passes."""
    return _pass_through(operation, scale=1 if operation.name == "abs" else None, sign=0)


@rule("square", "pow", "sqrt", "rsqrt", "reciprocal")
def power(operation: Operation) -> Activation | None:
    """x^p: a factor a becomes a^p; a sign ends here where p is even, passes where it is odd, else neither."""
    fixed = {"square": 2, "sqrt": Fraction(1, 2), "rsqrt": Fraction(-1, 2), "reciprocal": -1}
    exponent = fixed.get(operation.name) or operation.args[1]
    if not isinstance(exponent, int | float | Fraction) or not math.isfinite(exponent):
        return combine(operation, keep=False)
    root = Fraction(exponent).limit_denominator(MAX_ROOT)
    if abs(root - Fraction(exponent)) > ROUNDING:
        return _pass_through(operation, scale=None, sign=None)
    if root.denominator > 1:
        return _pass_through(operation, scale=root, sign=None)
    return _pass_through(operation, scale=int(root), sign=1 if root % 2 else 0)


@rule("clamp", "clamp_min", "clamp_max", "threshold", "hardtanh")
def clip(operation: Operation) -> Activation | None:
    """Clipping at zero is a ReLU; between −a and a it is odd; else nothing passes."""
    bounds = operation.args[1:] if operation.name != "clamp_max" else (None, operation.args[1])
    if operation.name == "hardtanh" and not bounds:
        bounds = (-1.0, 1.0)
    low = bounds[0] if bounds else operation.kwargs.get("min")
    high = bounds[1] if len(bounds) > 1 else operation.kwargs.get("max")
    if any(isinstance(bound, Tensor | Activation | View) for bound in (low, high)):
        return None
    if operation.name == "threshold":
        return _pass_through(operation, scale=1 if low == 0 and high == 0 else None, sign=None)
    if (low, high) in ((0, None), (None, 0)) or (low is not None and high is None and 0 < low <= EPSILON):
        return _pass_through(operation, scale=1, sign=None)
    symmetric = low is not None and high is not None and low == -high and low < high
    return _pass_through(operation, scale=None, sign=1 if symmetric else None)


@rule("tanh", "sin", "asin", "atan", "sinh", "asinh", "atanh", "erf", "softsign", "hardshrink", "softshrink", "tan")
def odd(operation: Operation) -> Activation | None:
    """f(−x) = −f(x): signs pass, factors do not."""
    return _pass_through(operation, scale=None, sign=1)


@rule("neg", "dropout", "feature_dropout", "alpha_dropout", "identity", "_to_copy", "to", "positive", "type_as")
def linear(operation: Operation) -> Activation | None:
    """A factor that is the same for all: everything passes, unless numbers become whole."""
    passes: Literal[1] | None = 1 if operation.floating else None
    return _pass_through(operation, scale=passes, sign=passes)


@rule("glu")
def glu(operation: Operation) -> Activation | None:
    """One half times the sigmoid of the other: units unite, the first half's factor and sign pass."""
    value, dim, found = operation.args[0], operation.get(1, "dim", -1), operation.found
    if not isinstance(value, Activation):
        return None
    size = value.shape[dim] // 2
    first, gate = value.map(lambda own: own.narrow(dim, 0, size)), value.map(lambda own: own.narrow(dim, size, size))
    found.freeze_factors(gate)
    united = _unite(found, first, gate)
    result = Activation(united.unit, compact(first.scale), compact(first.sign), united.code)
    found.note(result)
    return result


@rule(*POINTWISE)
def pointwise(operation: Operation) -> Activation | None:
    """Any other function of each entry alone: units pass, factors and signs do not."""
    return combine(operation, keep=False)


def _pass_through(operation: Operation, *, scale: Exponent | None, sign: Literal[0, 1] | None) -> Activation | None:
    """Label a function of each entry, by the powers of factors and signs that pass.

    With the power 0 they end here: they are taken away, and nothing needs to read them. With None they are frozen.
    """
    value = operation.args[0]
    if not isinstance(value, Activation) or any(isinstance(other, Activation | View) for other in operation.args[1:]):
        return None
    found = operation.found
    keeps_zero = (scale is not None and scale > 0) or (scale is None and sign == 1)
    fields = {}
    for (name, partition), power in zip(found.factors.items(), (scale, sign), strict=True):
        labels = getattr(value, name)
        if power is None:
            partition.freeze(labels)
        passed = partition.product([(labels, power)]) if power else uniform(labels.shape)
        fields[name] = compact(torch.where(labels == ZERO, ZERO if keeps_zero else FIXED, passed))
    result = attrs.evolve(value, **fields, code=map_codes(found, value))
    found.note(result)
    return result


def map_codes(found: Discovery, value: Activation) -> Tensor:
    """Make codes for a function of each entry: units keep theirs, other entries get one for each value they had."""
    loose = value.unit == FIXED
    if not bool(loose.any()):
        return value.code
    distinct, places = torch.unique(value.code[loose], return_inverse=True)
    code = value.code.clone()
    code[loose] = found.new_codes(distinct.shape)[places]
    return compact(code)


def combine(operation: Operation, *, keep: bool) -> Activation | None:
    """Label a function of several activations, entry by entry: units unite; with `keep`, so do factors and signs."""
    found = operation.found
    values = [value for value in operation.args if isinstance(value, Activation | Tensor)]
    if any(isinstance(value, View) for value in operation.args):
        return None
    parts = [_broadcast(lift(found, value), operation.shape) for value in values]
    result = parts[0]
    for part in parts[1:]:
        result = _unite_factors(found, result, part) if keep else _unite(found, result, part)
    if not keep:
        for part in parts:
            found.freeze_factors(part)
        result = result.without_factors()
    found.note(result)
    return result


def _broadcast(value: Activation, shape: Any) -> Activation:
    return value.map(lambda labels: labels.expand(shape))


def _unite_factors(found: Discovery, one: Activation, other: Activation) -> Activation:
    """Unite two activations entry by entry, with their factors and signs."""
    united = _unite(found, one, other)
    scale, sign = found.scales.merge(one.scale, other.scale), found.signs.merge(one.sign, other.sign)
    return attrs.evolve(united, scale=compact(scale), sign=compact(sign))


def _unite(found: Discovery, one: Activation, other: Activation) -> Activation:
    """Unite two activations entry by entry: where both are of a unit it is the same one; factors are those of one."""
    both = (one.unit != FIXED) & (other.unit != FIXED)
    shared = [compact(torch.where(both, value.unit, FIXED)) for value in (one, other)]
    if _lie_inside(found, *reversed(shared)):
        one, both = _leave(found, one, other, both), torch.zeros_like(both)
    elif _lie_inside(found, *shared):
        other, both = _leave(found, other, one, both), torch.zeros_like(both)
    else:
        found.units.unite(*shared)
    inside_one, inside_other = one.unit != FIXED, other.unit != FIXED
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
        code = torch.where(loose, pair_codes(found, one.code, other.code), code)
    return Activation(unit, one.scale, one.sign, compact(code))


def _lie_inside(found: Discovery, many: Tensor, few: Tensor) -> bool:
    """Whether units would be tied to each other by what each of them meets one of, as by a gate that some share."""
    pairs = distinct_pairs(*found.units.united()[distinct_pairs(few, many)].unbind(1))
    pairs = pairs[(pairs != FIXED).all(1)]
    outer, sizes = torch.unique(pairs[:, 0], return_counts=True)
    if len(outer) == len(pairs) or len(torch.unique(pairs[:, 1])) < len(pairs):
        return False
    sets = pairs[:, 1].split(sizes.tolist())
    return any(len(own) > 1 and found.units.clash(own[None]) for own in sets)


def _leave(found: Discovery, outer: Activation, inner: Activation, where: Tensor) -> Activation:
    """Note that units lie in others, and return these without them: the inner ones go on."""
    found.note_inside(torch.where(where, inner.unit, FIXED), torch.where(where, outer.unit, FIXED))
    found.note_with(compact(torch.where(where, outer.unit, FIXED)), inner.code)
    return attrs.evolve(outer, unit=compact(torch.where(where, FIXED, outer.unit)))


def pair_codes(found: Discovery, one: Tensor, other: Tensor) -> Tensor:
    """Make a new code for each pair of codes that occurs."""
    numbers = [torch.unique(codes, return_inverse=True) for codes in (one, other)]  # far faster than unique rows are
    (_, first), (known, second) = numbers
    distinct, places = torch.unique(first * len(known) + second, return_inverse=True)
    return found.new_codes([len(distinct)])[places]


def add(operation: Operation) -> Activation | None:
    """A sum: units, factors and signs of both are the same; a number that is added lets neither pass."""
    other = operation.args[1]
    if isinstance(other, int | float):
        passes: Literal[1] | None = 1 if other == 0 else None
        return _pass_through(operation, scale=passes, sign=passes)
    return combine(operation, keep=True)


@rule("div")
def multiply(operation: Operation) -> Activation | None:
    """A product or quotient: its factors and signs are those of both, multiplied or divided."""
    one, other = operation.args[:2]
    if operation.kwargs.get("rounding_mode") is not None:
        return None
    if isinstance(other, int | float | complex):
        return _pass_through(operation, scale=1, sign=1)
    if isinstance(one, int | float | complex):
        exponent: Literal[1, -1] = -1 if operation.name == "div" else 1
        return _pass_through(attrs.evolve(operation, args=(other,)), scale=exponent, sign=1)
    if not all(isinstance(value, Activation | Tensor) for value in (one, other)):
        return None
    found = operation.found
    first, second = (_broadcast(lift(found, value), operation.shape) for value in (one, other))
    result = _unite(found, first, second)
    exponent = -1 if operation.name == "div" else 1
    result = attrs.evolve(
        result,
        scale=compact(found.scales.product([(first.scale, 1), (second.scale, exponent)])),
        sign=compact(found.signs.product([(first.sign, 1), (second.sign, exponent)])),
    )
    found.note(result)
    return result
