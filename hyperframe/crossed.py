"""Activations whose entries belong to units along two axes, as behind a dense layer along the tokens of channels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from hyperframe.discovery import Discovery, View
from hyperframe.labels import FIXED, ZERO, Activation, compact, varies
from hyperframe.rules import Operation, flat


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
    """What an operation without parameters makes of each set of labels."""
    values = list(flat([*operation.args, *operation.kwargs.values()]))
    like = next(value for value in values if isinstance(value, Crossed))
    # In a sum with units along one axis alone, those along another end: they are beside numbers that all differ.
    met = {_match(value, like) for value in values if isinstance(value, Activation) and value.labelled}
    ended = {number for number in range(len(like.layers)) if met - {number}}
    if len(met) == 1:
        operation = _mapped(operation, lambda value: _handed(operation.found, value, next(iter(met)), ended))
    results = [
        apply(_mapped(operation, partial(_seen, operation.found, number, like))) for number in range(len(like.layers))
    ]
    if any(result is None for result in results):
        return None
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


def _handed(found: Discovery, value: Any, number: int, ended: set[int]) -> Any:
    """Factors and signs of the sets that end, handed to the one that goes on where it has none of its own."""
    if not isinstance(value, Crossed) or number >= len(value.layers):
        return value
    layers = list(value.layers)
    for name, partition in (("scale", found.scales), ("sign", found.signs)):
        for other in ended & set(range(len(layers))):
            own, given = (getattr(layers[place], name) for place in (number, other))
            if not partition.alive(own):
                layers[number] = attrs.evolve(layers[number], **{name: compact(torch.where(own == ZERO, ZERO, given))})
                layers[other] = attrs.evolve(
                    layers[other], **{name: torch.full_like(given[:1], FIXED).expand(given.shape)}
                )
    return Crossed(tuple(layers))


def _match(value: Activation, like: Crossed) -> int:
    """The set of labels whose units stand along the same axis."""
    axes = _axes(value.unit)
    return next((number for number, layer in enumerate(like.layers) if axes & _axes(layer.unit)), 0)


def _axes(unit: Tensor) -> set[int]:
    """The axes along which units differ, counted from the last."""
    return {axis - unit.dim() for axis in range(unit.dim()) if varies(unit, axis)}


def _put(found: Discovery, layers: Sequence[Activation], ended: set[int]) -> Activation | Crossed:
    """What is left of sets of labels: those of which anything may still move."""
    for number in ended:
        if found.has_factors(layers[number]):
            found.lose(layers[number], "units along two axes at once end here")
        found.freeze(layers[number])
    return crossed(found, layers)


def crossed(found: Discovery, layers: Sequence[Activation]) -> Activation | Crossed:
    """Several sets of labels as one activation, without those of which all is frozen."""
    kept = [layer for layer in layers if found.units.alive(layer.unit) or found.has_factors(layer)]
    return Crossed(tuple(kept)) if len(kept) > 1 else (kept or layers)[0]


def first_alone(operation: Operation) -> Operation:
    """The operation with the first set of labels only; the others end here, with a report."""
    found = operation.found

    def first(value: Any) -> Any:
        if not isinstance(value, Crossed):
            return value
        for layer in value.layers[1:]:
            found.lose(layer, "units along two axes at once end here")
        return value.layers[0]

    return _mapped(operation, first)


def has_parameters(operation: Operation) -> bool:
    """Whether a parameter is among the arguments."""
    return any(isinstance(value, View) for value in flat([*operation.args, *operation.kwargs.values()]))
