"""What pooling, means, maxima and other functions of many entries do to labels."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.factors import Exponent
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, Partition, compact, varies
from hyperframe.targets.tracing.rules.elementwise import new_fixed_codes
from hyperframe.targets.tracing.rules.registry import Operation, rule
from hyperframe.targets.tracing.state import Discovery

POOLS = {
    "max": "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "max_pool2d_with_indices max_pool3d_with_indices",
    "mean": "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "_adaptive_avg_pool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d "
    "upsample_linear1d upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact2d _upsample_bilinear2d_aa",
}


@rule(*POOLS["max"].split(), *POOLS["mean"].split())
def pooled(operation: Operation) -> Any:
    """Each channel by itself, over space: means let signs pass, maxima do not."""
    value, found = operation.args[0], operation.found
    if not isinstance(value, Activation):
        return None
    several = isinstance(operation.shape, tuple | list) and not isinstance(operation.shape, torch.Size)
    shape = operation.shape[0] if several else operation.shape
    spatial = int(next(letter for letter in operation.name if letter.isdigit()))
    if len(value.shape) < spatial + 2:
        return None
    unit, scale, sign = found.along(value, 1)
    if operation.name in POOLS["max"].split():
        found.signs.freeze(sign)
        sign = torch.where(sign == ZERO, ZERO, FIXED)
    result = found.laid_out(shape, 1, unit, scale, sign)
    return (result, _indices(found, result)) if several else result


REDUCTIONS: dict[str, tuple[Exponent | None, Literal[0, 1] | None]] = {
    "mean": (1, 1),
    "sum": (1, 1),
    "amax": (1, None),
    "amin": (1, None),
    "max": (1, None),
    "min": (1, None),
    "softmax": (None, None),
    "_softmax": (None, None),
    "log_softmax": (None, None),
    "_log_softmax": (None, None),
    "var": (2, 0),
    "std": (1, 0),
    "logsumexp": (None, None),
    "prod": (None, None),
    "linalg_vector_norm": (1, 0),
}
"""The powers of factors and signs that pass; a sign to the power of 0 ends there, None passes neither."""


@rule(*REDUCTIONS)
def reduced(operation: Operation) -> Any:
    """A symmetric function of the entries along some axes: units that vary along them may change places in it."""
    value, found = operation.args[0], operation.found
    if not isinstance(value, Activation):
        return None
    if operation.name == "linalg_vector_norm" and operation.get(1, "ord", 2) == 0:
        return None
    rank = len(value.shape)
    if rank == 0:
        return None
    where = 2 if operation.name == "linalg_vector_norm" else 1
    dims = operation.get(where, "dim")
    if dims is None or dims == [] or isinstance(dims, bool):  # var(x, unbiased) has no axis
        dims = list(range(rank))
    dims = [dims] if isinstance(dims, int) else list(dims)
    dims = sorted(dim % rank for dim in dims)
    several = isinstance(operation.shape, tuple | list) and not isinstance(operation.shape, torch.Size)
    shape = operation.shape[0] if several else operation.shape
    powers = [power if operation.floating else None for power in REDUCTIONS[operation.name]]
    note_groups(found, value, dims)
    fields: dict[str, Tensor] = {}
    for name, partition, power in (("scale", found.scales, powers[0]), ("sign", found.signs, powers[1])):
        labels = getattr(value, name)
        if power == 0 and operation.name == "linalg_vector_norm":  # of each entry the absolute value
            labels = torch.where(labels == ZERO, ZERO, FIXED)
        first = common(labels, dims, partition)
        if power is None:
            partition.freeze(labels)
            first = torch.where(first == ZERO, FIXED, first).clamp(max=FIXED)
        fields[name] = partition.product([(first, power or 0)]) if power != 1 else first
    unit = value.unit
    mixed = any(varies(unit, dim) for dim in dims)
    for dim in dims:
        unit = unit.narrow(dim, 0, 1)
    if mixed:  # what remains belongs to no unit
        unit = torch.full_like(unit, FIXED)
    if "softmax" in operation.name:
        result = attrs.evolve(
            value,
            scale=fields["scale"].expand(shape),
            sign=fields["sign"].expand(shape),
            code=new_fixed_codes(found, value),
        )
        found.note(result)
        return result
    kept = [size for axis, size in enumerate(value.shape) if axis not in dims]
    unit, scale, sign = (
        field.expand(unit.shape).reshape(kept).reshape(shape) for field in (unit, fields["scale"], fields["sign"])
    )
    code = found.new_codes(shape)
    if bool((unit != FIXED).any()):
        code = torch.where(unit == FIXED, code, _reduced_codes(value.code, dims).reshape(shape))
    result = Activation(compact(unit), compact(scale), compact(sign), compact(code))
    found.note(result)
    if mixed and 1 in operation.used:  # where the largest is found depends on the order
        found.units.freeze(value.unit)
    return (result, _indices(found, result)) if several else result


def _indices(found: Discovery, result: Activation) -> Activation:
    """Where in each unit what was found stands: it moves with the unit, and has neither factor nor sign."""
    none = torch.full((1,) * len(result.shape), FIXED).expand(result.shape)
    return Activation(result.unit, none, none, new_fixed_codes(found, result))


def _reduced_codes(code: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        code = code.narrow(dim, 0, 1)
    return code


def common(labels: Tensor, dims: Sequence[int], partition: Partition) -> Tensor:
    """One factor or sign for all entries along some axes, united; keeps the axes with size 1."""
    columns = labels
    for dim in dims:
        columns = columns if varies(columns, dim) else columns.narrow(dim, 0, 1)
    moved = columns.movedim(list(dims), list(range(len(dims)))).flatten(0, len(dims) - 1)
    chosen = moved.gather(0, (moved != ZERO).int().argmax(0, keepdim=True))
    partition.unite(moved, chosen)
    first = chosen[0]
    for dim in sorted(dims):
        first = first.unsqueeze(dim)
    return first


def note_groups(found: Discovery, value: Activation, dims: Sequence[int]) -> None:
    """Units change places within a group of a reduction only, and only where their entries stand alike in it."""
    found.note(value)
    if not any(varies(value.unit, dim) for dim in dims):
        return  # each unit by itself
    groups = [1 if axis in dims else size for axis, size in enumerate(value.shape)]
    number = torch.arange(torch.Size(groups).numel()).view(groups).expand(value.shape)
    if any(varies(value.unit, axis) for axis, size in enumerate(groups) if size > 1):
        found.note_with(value.unit, number)
