"""Activations whose entries belong to units along two axes, as behind a dense layer along the tokens of channels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from hyperframe.targets.tracing.findings import View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, compact, varies
from hyperframe.targets.tracing.rules.registry import Operation, flat
from hyperframe.targets.tracing.state import Discovery


@attrs.frozen(eq=False)
class Crossed:
    """One set of labels for each axis along which units stand; an entry's factor and sign are the products of all.

    Each set is carried through the graph as if the others were not there, which is right, for symmetries can be put
    together: what leaves the outputs as they are with all other units at rest does so whatever these do.
    """

    layers: tuple[Activation, ...]

    @property
    def shape(self) -> Any:
        """The activation's shape."""
        return self.layers[0].shape


def each(operation: Operation, apply: Callable[[Operation], Any]) -> Any:
    """Apply an operation without parameters to each set of labels."""
    values = list(flat([*operation.args, *operation.kwargs.values()]))
    like = max((value for value in values if isinstance(value, Crossed)), key=lambda value: len(value.layers))
    # In a sum with units along one axis alone, those along another end: they are beside numbers that all differ.
    met = {_match(value, like) for value in values if isinstance(value, Activation) and value.labelled}
    ended = {number for number in range(len(like.layers)) if met - {number}}
    if len(met) == 1:
        goes_on = next(iter(met))
        operation = _mapped(operation, lambda value: _with_factors(operation.found, value, goes_on))
    results = [
        apply(_mapped(operation, partial(_seen, operation.found, number, like))) for number in range(len(like.layers))
    ]
    if any(result is None for result in results):
        return None
    if isinstance(results[0], Tensor):  # known numbers, such as zeros in the activation's shape
        return results[0]
    if isinstance(results[0], tuple):
        return tuple(_put(operation.found, parts, ended) for parts in zip(*results, strict=True))
    return _put(operation.found, results, ended)


def _mapped(operation: Operation, function: Callable[[Any], Any]) -> Operation:
    """The operation with something else for each of its arguments, those within lists as well."""
    args, kwargs = tree_map(
        function, (operation.args, operation.kwargs), is_leaf=lambda value: isinstance(value, Activation | Crossed)
    )
    return attrs.evolve(operation, args=args, kwargs=kwargs)


def _seen(found: Discovery, number: int, like: Crossed, value: Any) -> Any:
    """An argument as one set of labels sees it: units along another axis are none of its own."""
    if isinstance(value, Crossed):
        return value.layers[number] if number < len(value.layers) else found.opaque(value.shape)
    other = isinstance(value, Activation) and value.labelled and number != _match(value, like)
    return found.opaque(value.shape) if other else value


def _with_factors(found: Discovery, value: Any, number: int) -> Any:
    """A value of which one set of labels goes on, with the factors and signs of the others."""
    if not isinstance(value, Crossed) or number >= len(value.layers):
        return value
    return Crossed(tuple(_handed(found, value.layers, number)))


def _handed(found: Discovery, layers: Sequence[Activation], number: int) -> list[Activation]:
    """Sets of labels, factors and signs in the one that goes on, where it has none of its own."""
    result = list(layers)
    for name, partition in (("scale", found.scales), ("sign", found.signs)):
        for other in set(range(len(result))) - {number}:
            own, given = (getattr(result[place], name) for place in (number, other))
            if not partition.alive(own):
                none = torch.full((1,) * given.dim(), FIXED).expand(given.shape)
                result[number] = attrs.evolve(result[number], **{name: compact(torch.where(own == ZERO, ZERO, given))})
                result[other] = attrs.evolve(result[other], **{name: none})
    return result


def merged(found: Discovery, layers: Sequence[Activation]) -> Activation:
    """One set of labels: the units of the first that has any, and factors and signs of others; what else is lost."""
    main = next((number for number, layer in enumerate(layers) if found.units.alive(layer.unit)), 0)
    result = _handed(found, layers, main)
    for number, layer in enumerate(result):
        if number != main:
            found.lose(layer, "units along two axes at once end here")
    return result[main]


def _match(value: Activation, like: Crossed) -> int:
    """The set of labels whose units stand along the same axis."""
    axes = _axes(value.unit)
    return next((number for number, layer in enumerate(like.layers) if axes & _axes(layer.unit)), 0)


def _axes(unit: Tensor) -> set[int]:
    """The axes along which units differ, counted from the last."""
    return {axis - unit.dim() for axis in range(unit.dim()) if varies(unit, axis)}


def _put(found: Discovery, layers: Sequence[Activation], ended: set[int]) -> Activation | Crossed:
    """The sets of labels of which anything may still move."""
    for number in ended:
        if found.has_factors(layers[number]):
            found.lose(layers[number], "units along two axes at once end here")
        found.freeze(layers[number])
    return crossed(found, layers)


def crossed(found: Discovery, layers: Sequence[Activation]) -> Activation | Crossed:
    """Several sets of labels as one activation, without those of which all is frozen."""
    kept = [layer for layer in layers if found.units.alive(layer.unit) or found.has_factors(layer)]
    return Crossed(tuple(kept)) if len(kept) > 1 else (kept or layers)[0]


def with_merged(operation: Operation) -> Operation:
    """The operation with one set of labels for each argument; the others end here, with a report."""
    return _mapped(
        operation, lambda value: merged(operation.found, value.layers) if isinstance(value, Crossed) else value
    )


def has_parameters(operation: Operation) -> bool:
    """Whether a parameter is among the arguments."""
    return any(isinstance(value, View) for value in flat([*operation.args, *operation.kwargs.values()]))
