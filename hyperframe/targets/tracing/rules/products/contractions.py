"""Products of activations, summed over an axis that both have, as attention makes them of queries, keys and values.

Units may stand along the axis that is summed, as channels of queries and keys do: then they are the same units in both,
which may change places in the sum, and the product of their factors is the same for all. Units along other axes, such
as channels of values, pass: all that is summed is of one unit then.
"""

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.factors import Factors
from hyperframe.targets.tracing.labels import FIXED, Activation, compact, uniform, varies
from hyperframe.targets.tracing.rules.crossed import Crossed, cross, merge_sets
from hyperframe.targets.tracing.rules.elementwise import pair_codes
from hyperframe.targets.tracing.rules.reductions import common
from hyperframe.targets.tracing.rules.registry import lift
from hyperframe.targets.tracing.state import Discovery

Carried = Activation | Crossed


def contract(found: Discovery, one: Carried | Tensor, other: Carried | Tensor) -> Carried:
    """Label Σ_k one[…, m, k] · other[…, n, k], which is [..., m, n]; the axes before these are the same in both."""
    left, right = (_split(found, lift(found, value)) for value in (one, other))
    pairs = []
    if left.summed is not None or right.summed is not None:
        pairs.append((left.summed, right.summed))
    if _along_outer(left.passing) and _along_outer(right.passing):
        pairs += [(left.passing, None), (None, right.passing)]
    elif left.passing is not None or right.passing is not None or not pairs:
        pairs.append((left.passing, right.passing))
    results = []
    for number, (first, second) in enumerate(pairs):
        rests = (side.rest if number == 0 else found.opaque(side.rest.shape) for side in (left, right))
        values = [rest if value is None else value for value, rest in zip((first, second), rests, strict=True)]
        summed = number == 0 and any(side.summed is not None for side in (left, right))
        results.append(_sum_units(found, *values, alone=len(pairs) == 1) if summed else _pass_units(found, *values))
    return cross(found, _gather_factors(found, results))


@attrs.frozen
class _Side:
    """One of two values in a product.

    Attributes:
        summed: units that stand along the axis that is summed.
        passing: units that stand along others.
        rest: the value as units of the other see it.
    """

    summed: Activation | None
    passing: Activation | None
    rest: Activation


def _split(found: Discovery, value: Carried) -> _Side:
    sets = value.layers if isinstance(value, Crossed) else (value,)
    with_units = [layer for layer in sets if layer.has_units]
    if not with_units:
        return _Side(None, None, merge_sets(found, sets))
    summed = [layer for layer in with_units if _stand_along(found, layer)]
    passing = [layer for layer in with_units if layer not in summed]
    rest = [layer for layer in sets if layer not in with_units]
    parts = [merge_sets(found, [*part, *rest]) if part else None for part in (summed, passing)]
    return _Side(parts[0], parts[1], found.opaque(value.shape))


def _stand_along(found: Discovery, value: Activation) -> bool:
    """Whether units stand along the last axis, so that uniting them along it would take something away."""
    return varies(value.unit, -1) and found.units.clash(_rows(value.unit))


def _along_outer(value: Activation | None) -> bool:
    return value is not None and varies(value.unit, -2)


def _rows(labels: Tensor) -> Tensor:
    """Lay labels out in rows along the last axis, one for all places at which they are the same."""
    for axis in range(labels.dim() - 1):
        if not varies(labels, axis):
            labels = labels.narrow(axis, 0, 1)
    return labels.reshape(-1, labels.shape[-1])


def _number_rows(code: Tensor) -> Tensor:
    """Number rows of codes along the last axis, equal ones alike; this axis has size 1 then."""
    shape = (*code.shape[:-1], 1)
    for axis in range(code.dim()):
        if not varies(code, axis):
            code = code.narrow(axis, 0, 1)
    numbers: Tensor = torch.unique(code.reshape(-1, code.shape[-1]), dim=0, return_inverse=True)[1]
    return numbers.view(*code.shape[:-1], 1).expand(shape)


def _unite_along(found: Discovery, value: Activation, axis: int) -> Tensor:
    """Unite units along an axis, which has size 1 then; what is of no unit there must be the same for all units."""
    if not varies(value.unit, axis):
        return value.unit.narrow(axis, 0, 1)
    inside = value.unit != FIXED
    unit = value.unit.gather(axis, inside.int().argmax(axis, keepdim=True))
    found.units.unite(torch.where(inside, value.unit, unit), unit)
    if bool((~inside & (unit != FIXED)).any()):
        found.note_with(unit.expand(value.shape), torch.where(inside, FIXED, value.code))
    return compact(unit)


def _sum_units(found: Discovery, one: Activation, other: Activation, *, alone: bool) -> Activation:
    """Sum over units: those of one are those of the other, and change places within what is summed together.

    What is summed together, such as the channels of a head, is a unit itself: it may change places as a whole.
    """
    units = []
    for value in (one, other):
        found.note(value)
        units.append(_unite_along(found, value, -2))
    both = (units[0] != FIXED) & (units[1] != FIXED)
    found.units.unite(*(torch.where(both, unit, FIXED) for unit in units))
    unit = compact(torch.where(units[0] != FIXED, units[0], units[1]))
    for value in (one, other):  # beside what is of no unit
        found.note_with(unit, _number_rows(value.code.transpose(-1, -2)).transpose(-1, -2))
    shape = torch.Size((*one.shape[:-1], other.shape[-2]))
    scale, sign = _factors(found, one, other)
    whole = found.wholes(unit, [-1]) if alone else None
    if whole is None:
        found.note_with(unit, torch.arange(unit[..., :1].numel()).view(unit[..., :1].shape))
        return Activation(uniform(shape), scale, sign, found.new_codes(shape))
    rows = _number_rows(one.code), _number_rows(other.code).transpose(-1, -2)
    result = Activation(compact(whole.expand(shape)), scale, sign, compact(pair_codes(found, *rows).expand(shape)))
    found.note(result)
    return result


def _pass_units(found: Discovery, one: Activation, other: Activation) -> Activation:
    """Sum over what is of one unit each: units pass, beside values that must be the same where they change places."""
    units = []
    for value, beside in ((one, other), (other, one)):
        found.note(value)
        if value.has_units:
            found.note_with(value.unit, _number_rows(beside.code.transpose(-1, -2)).transpose(-1, -2))
        units.append(_unite_along(found, value, -1))
    if all(bool((unit != FIXED).any()) for unit in units):
        few = 0 if not varies(units[0], -2) else 1
        found.note_inside(units[1 - few], units[few][..., :1, :])
        units[few] = uniform(units[few].shape)
    shape = torch.Size((*one.shape[:-1], other.shape[-2]))
    first, second = units[0].expand(shape), units[1].transpose(-1, -2).expand(shape)
    unit = compact(torch.where(first != FIXED, first, second))
    rows = _number_rows(one.code), _number_rows(other.code).transpose(-1, -2)
    code = compact(pair_codes(found, *rows).expand(shape))
    scale, sign = _factors(found, one, other)
    result = Activation(unit, scale, sign, code)
    found.note(result)
    return result


def _factors(found: Discovery, one: Activation, other: Activation) -> tuple[Tensor, Tensor]:
    """Multiply the factors of both, and the signs; the products are the same for all that is summed together."""
    scale = _multiply(found.scales, one.scale, other.scale)
    return compact(scale), compact(_multiply(found.signs, one.sign, other.sign))


def _multiply(partition: Factors, one: Tensor, other: Tensor) -> Tensor:
    """Multiply labels [..., m, k] and [..., n, k] where k is summed: [..., m, n]."""
    shape = (*one.shape[:-1], other.shape[-2])
    if varies(one, -1) and varies(other, -1):
        products = partition.product([(one.unsqueeze(-2), 1), (other.unsqueeze(-3), 1)])
        same: Tensor = common(products, [products.dim() - 1], partition)
        return same.squeeze(-1).expand(shape)
    parts = [common(labels, [labels.dim() - 1], partition) for labels in (one, other)]
    return partition.product([(parts[0].expand(shape), 1), (parts[1].transpose(-1, -2).expand(shape), 1)])


def _gather_factors(found: Discovery, results: list[Activation]) -> list[Activation]:
    """Multiply the factors of results without units into the first that has some."""
    without, first = results[0], next((number for number, value in enumerate(results) if value.has_units), 0)
    if first == 0:
        return results
    fields = {
        name: compact(partition.product([(getattr(value, name), 1) for value in (results[first], without)]))
        for name, partition in found.factors.items()
    }
    return [attrs.evolve(results[first], **fields), *results[first + 1 :]]
