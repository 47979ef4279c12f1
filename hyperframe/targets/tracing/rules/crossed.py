"""Activations whose entries belong to units along two axes, as behind a dense layer along the tokens of channels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.labels import ZERO, Activation, compact, uniform, varies
from hyperframe.targets.tracing.rules.registry import Operation
from hyperframe.targets.tracing.state import Discovery


@attrs.frozen(eq=False)
class Crossed:
    """One set of labels for each axis along which units stand; an entry's factor and sign are the products of all.

    Each set is carried through the graph as if the others were not there. This is right, since symmetries can be put
    together: what leaves the outputs as they are with all other units at rest does so whatever these do.
    """

    layers: tuple[Activation, ...]

    @property
    def shape(self) -> torch.Size:
        """The activation's shape."""
        return self.layers[0].shape


def map_sets(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to the labels of each set, such as one that lays entries out differently; numbers likewise."""
    if isinstance(value, Crossed):
        return Crossed(tuple(layer.map(function) for layer in value.layers))
    return value.map(function) if isinstance(value, Activation) else function(value)


def apply_to_each(operation: Operation, apply: Callable[[Operation], Any]) -> Any:
    """Apply an operation without parameters to each set of labels."""
    found, values = operation.found, operation.inputs
    like = max((value for value in values if isinstance(value, Crossed)), key=lambda value: len(value.layers))
    sets = range(len(like.layers))
    # In a sum with units along one axis alone, those along another end: they are beside numbers that all differ.
    met = {_match(value, like) for value in values if isinstance(value, Activation) and value.labelled}
    ended = {number for number in sets if met - {number}}
    if len(met) == 1:
        goes_on = next(iter(met))
        operation = operation.map(lambda value: _move_factors(found, value, goes_on), Crossed)
    results = [apply(operation.map(partial(_choose, found, number, like), Activation | Crossed)) for number in sets]
    if any(result is None for result in results):
        return None
    if isinstance(results[0], Tensor):  # known numbers, such as zeros in the activation's shape
        return results[0]
    if isinstance(results[0], tuple):
        return tuple(_put_together(found, parts, ended) for parts in zip(*results, strict=True))
    return _put_together(found, results, ended)


def _choose(found: Discovery, number: int, like: Crossed, value: Activation | Crossed) -> Activation:
    """Return an argument as one set of labels sees it: units along another axis are none of its own."""
    if isinstance(value, Crossed):
        return value.layers[number] if number < len(value.layers) else found.opaque(value.shape)
    return found.opaque(value.shape) if value.labelled and number != _match(value, like) else value


def _move_factors(found: Discovery, value: Crossed, number: int) -> Crossed:
    """Give one set of labels, which goes on, the factors and signs of the others."""
    return Crossed(tuple(_with_factors(found, value.layers, number))) if number < len(value.layers) else value


def _with_factors(found: Discovery, layers: Sequence[Activation], number: int) -> list[Activation]:
    """Return sets of labels, factors and signs in the one that goes on, where it has none of its own."""
    result = list(layers)
    for name, partition in found.factors.items():
        for other in set(range(len(result))) - {number}:
            own, given = (getattr(result[place], name) for place in (number, other))
            if not partition.alive(own):
                result[number] = attrs.evolve(result[number], **{name: compact(torch.where(own == ZERO, ZERO, given))})
                result[other] = attrs.evolve(result[other], **{name: uniform(given.shape)})
    return result


def merge_sets(found: Discovery, layers: Sequence[Activation]) -> Activation:
    """Make one set of labels: the units of the first that has any, factors and signs of others; the rest is lost."""
    main = next((number for number, layer in enumerate(layers) if found.units.alive(layer.unit)), 0)
    result = _with_factors(found, layers, main)
    for number, layer in enumerate(result):
        if number != main:
            found.lose(layer, "units along two axes at once end here")
    return result[main]


def merge_arguments(operation: Operation) -> Operation:
    """Leave each argument of an operation one set of labels; the others end here, with a report."""
    return operation.map(lambda value: merge_sets(operation.found, value.layers), Crossed)


def _match(value: Activation, like: Crossed) -> int:
    """Return the number of the set of labels whose units stand along the same axis."""
    axes = _axes(value.unit)
    return next((number for number, layer in enumerate(like.layers) if axes & _axes(layer.unit)), 0)


def _axes(unit: Tensor) -> set[int]:
    """Return the axes along which units differ, counted from the last."""
    return {axis - unit.dim() for axis in range(unit.dim()) if varies(unit, axis)}


def _put_together(found: Discovery, layers: Sequence[Activation], ended: set[int]) -> Activation | Crossed:
    """Make an activation of the results for all sets of labels, some of which end here."""
    for number in ended:
        if found.has_factors(layers[number]):
            found.lose(layers[number], "units along two axes at once end here")
        found.freeze(layers[number])
    return cross(found, layers)


def cross(found: Discovery, layers: Sequence[Activation]) -> Activation | Crossed:
    """Make one activation of several sets of labels, without those of which all is frozen."""
    kept = [layer for layer in layers if found.units.alive(layer.unit) or found.has_factors(layer)]
    return Crossed(tuple(kept)) if len(kept) > 1 else (kept or layers)[0]
