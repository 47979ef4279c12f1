"""Units that are linear all the way from what writes them to what reads them, so that any invertible matrix mixes them.

A head of attention has two such sets: channels of queries and keys, whose products alone count, and channels of values
up to the output's layer. Permutations, factors and signs are the monomial matrices in GL(d). Its other d² − d
directions are counted, and no gauge fixes them.
"""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from hyperframe.targets.symmetry.structure import FROZEN, Structure
from hyperframe.targets.weights import pack, unpack
from hyperframe.types import Weights


def linear_sets(structure: Structure) -> tuple[tuple[int, ...], ...]:
    """List sets of units that seem to be linear: scaling labels of all that may change places, see `Structure.linear`.

    Each unit has one factor and one sign of its own wherever it stands, and is read: what nothing reads, such as a bias
    that the softmax forgets, is idle and no space. That is no proof: it is to be tried out.
    """
    places = _places(structure)
    of_unit: dict[int, set[tuple[int, int]]] = {}
    of_factor: dict[int, set[int]] = {}
    read: set[int] = set()
    for place in places.values():
        for unit, factors, signs in zip(place.units, place.factors, place.signs, strict=True):
            pair = (factors[0][0], signs[0]) if len(factors) == len(signs) == 1 else (FROZEN, FROZEN)
            of_unit.setdefault(unit, set()).add(pair)
            for factor, exponent in factors:
                of_factor.setdefault(factor, set()).add(unit)
                if exponent < 0:
                    read.add(factor)
    found = []
    for members in structure.classes:
        own = [next(iter(of_unit[unit])) for unit in members if len(of_unit.get(unit, ())) == 1]
        labels, flips = [pair[0] for pair in own], [pair[1] for pair in own]
        distinct = len(set(labels)) == len(set(flips)) == len(members) and FROZEN not in labels
        if distinct and read.issuperset(labels) and all(len(of_factor[label]) == 1 for label in labels):
            found.append(tuple(labels))
    return tuple(found)


@attrs.define
class _Place:
    """One axis of one parameter: of each entry the unit, its factors with their exponents, and its signs."""

    units: list[int]
    factors: list[list[tuple[int, int]]]
    signs: list[list[int]]


def _places(structure: Structure) -> dict[tuple[str, int], _Place]:
    found: dict[tuple[str, int], _Place] = {}
    for axis in structure.axes:
        size = len(axis.permutation)
        key = (axis.parameter, axis.dim if axis.groups == 1 else FROZEN)
        place = found.setdefault(key, _Place([FROZEN] * size, [[] for _ in range(size)], [[] for _ in range(size)]))
        for at, (unit, factor, sign) in enumerate(zip(axis.permutation, axis.scaling, axis.sign, strict=True)):
            place.units[at] = unit if place.units[at] == FROZEN else place.units[at]
            if factor != FROZEN:
                place.factors[at].append((factor, axis.exponent if axis.groups == 1 else 0))
            if sign != FROZEN and sign not in place.signs[at]:
                place.signs[at].append(sign)
    return found


def mix(structure: Structure, sets: Sequence[Sequence[int]], weights: Weights, rng: torch.Generator) -> Weights:
    """Mix the units of each set by a random matrix: what writes them by M, what reads them by its inverse.

    Args:
        structure: the labels.
        sets: of scaling labels, as `linear_sets` lists them.
        weights: for each layer [batch, filters, filter_size].
        rng: a random generator on the CPU.
    """
    parameters = unpack(structure.spec, weights)
    first = next(iter(weights.values()))
    matrices = [torch.randn(len(first), len(labels), len(labels), generator=rng, dtype=first.dtype) for labels in sets]
    for axis in structure.axes:
        scaling = torch.tensor(axis.scaling)
        for labels, matrix in zip(sets, matrices, strict=True):
            inside = (scaling == labels[0]).sum()
            if not inside or not axis.exponent:
                continue
            rows = torch.stack([(scaling == label).nonzero()[:, 0] for label in labels])
            by = matrix if axis.exponent == 1 else torch.linalg.inv(matrix).mT
            parameters[axis.parameter] = _multiply_rows(parameters[axis.parameter], by, rows, axis.dim + 1)
    return pack(structure.spec, parameters)


def _multiply_rows(values: Tensor, matrix: Tensor, rows: Tensor, dim: int) -> Tensor:
    """Multiply some rows [labels, entries] along an axis of values [batch, ...] by matrices [batch, labels, labels]."""
    moved = values.movedim(dim, 1)
    mixed = torch.einsum("nij,nje...->nie...", matrix, moved[:, rows])
    result = moved.clone()
    result[:, rows.flatten()] = mixed.flatten(1, 2)
    return result.movedim(1, dim)
