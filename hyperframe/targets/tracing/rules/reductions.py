"""Rules of pooling, means, maxima and other functions of many entries."""

from collections.abc import Sequence
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.factors import Exponent
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, Labels, Partition, compact, uniform, varies
from hyperframe.targets.tracing.rules.elementwise import map_codes
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
def pool(operation: Operation) -> Any:
    """Each channel by itself, over space: means let signs pass, maxima do not."""
    value, found = operation.args[0], operation.found
    if not isinstance(value, Activation):
        return None
    spatial = int(next(letter for letter in operation.name if letter.isdigit()))
    if len(value.shape) < spatial + 2:
        return None
    labels = found.along(value, 1)
    if operation.name in POOLS["max"].split():
        labels = found.freeze_signs(labels)
    result = found.lay_out(operation.first_shape, 1, labels)
    return (result, _indices(found, result)) if operation.several else result


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
def reduce(operation: Operation) -> Any:
    """A symmetric function of the entries along some axes: units that vary along them may change places in it."""
    value, found = operation.args[0], operation.found
    if not isinstance(value, Activation) or not value.shape:
        return None
    if operation.name == "linalg_vector_norm" and operation.get(1, "ord", 2) == 0:
        return None
    dims = _dims(operation, len(value.shape))
    whole = note_groups(found, value, dims)
    labels = Labels(_narrow(value.unit, dims), *_reduce_factors(operation, value, dims))
    mixed = any(varies(value.unit, dim) for dim in dims)
    if mixed:  # what remains belongs to none of these units
        labels = attrs.evolve(labels, unit=uniform(labels.shape) if whole is None else whole)
    if "softmax" in operation.name:
        scale, sign = (own.expand(value.shape) for own in (labels.scale, labels.sign))
        result = Activation(value.unit, scale, sign, map_codes(found, value))
    else:
        result = _without_axes(found, value, labels, dims, operation.first_shape)
    found.note(result)
    if mixed and 1 in operation.used:  # where the largest is found depends on the order
        found.units.freeze(value.unit)
    return (result, _indices(found, result)) if operation.several else result


def _dims(operation: Operation, rank: int) -> list[int]:
    """Return the axes that an operation reduces, in order; all where it names none."""
    dims = operation.get(2 if operation.name == "linalg_vector_norm" else 1, "dim")
    if dims is None or dims == [] or isinstance(dims, bool):  # var(x, unbiased) has no axis
        return list(range(rank))
    return sorted(dim % rank for dim in ([dims] if isinstance(dims, int) else dims))


def _reduce_factors(operation: Operation, value: Activation, dims: Sequence[int]) -> list[Tensor]:
    """Return the factors and the signs that pass, with size 1 along the axes that are reduced."""
    found, passing = operation.found, []
    for (name, partition), power in zip(found.factors.items(), REDUCTIONS[operation.name], strict=True):
        labels = getattr(value, name)
        if power == 0 and operation.name == "linalg_vector_norm":  # of each entry the absolute value
            labels = torch.where(labels == ZERO, ZERO, FIXED)
        first = common(labels, dims, partition)
        if power is None or not operation.floating:
            partition.freeze(labels)
            passing.append(uniform(first.shape))
        else:
            passing.append(partition.product([(first, power)]))
    return passing


def _without_axes(
    found: Discovery, value: Activation, labels: Labels, dims: Sequence[int], shape: torch.Size
) -> Activation:
    """Return the labels that are left of an activation once some of its axes are reduced."""
    kept = [size for axis, size in enumerate(value.shape) if axis not in dims]
    laid = labels.map(lambda own: own.expand(labels.shape).reshape(kept).reshape(shape))
    code = found.new_codes(shape)
    if laid.has_units:
        code = torch.where(laid.unit == FIXED, code, _narrow(value.code, dims).reshape(shape))
    return Activation(laid.unit, laid.scale, laid.sign, code).map(compact)


def _indices(found: Discovery, result: Activation) -> Activation:
    """Label where in each unit a maximum was found: it moves with the unit, and has neither factor nor sign."""
    none = uniform(result.shape)
    return Activation(result.unit, none, none, map_codes(found, result))


def _narrow(labels: Tensor, dims: Sequence[int]) -> Tensor:
    """Keep the first entry along some axes."""
    for dim in dims:
        labels = labels.narrow(dim, 0, 1)
    return labels


def common(labels: Tensor, dims: Sequence[int], partition: Partition) -> Tensor:
    """Unite factors or signs along some axes, and return one for all entries there; the axes keep size 1."""
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


def note_groups(found: Discovery, value: Activation, dims: Sequence[int]) -> Tensor | None:
    """Note that units change places within a group of a reduction only, and where their entries stand alike in it.

    Returns:
        The unit that each group is, where groups are of different units: they may change places as wholes.
    """
    found.note(value)
    if not any(varies(value.unit, dim) for dim in dims):
        return None  # each unit by itself
    whole = found.wholes(value.unit, dims)
    if whole is not None:
        return whole
    groups = [1 if axis in dims else size for axis, size in enumerate(value.shape)]
    number = torch.arange(torch.Size(groups).numel()).view(groups).expand(value.shape)
    if any(varies(value.unit, axis) for axis, size in enumerate(groups) if size > 1):
        found.note_with(value.unit, number)
    return None
