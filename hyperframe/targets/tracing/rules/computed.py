"""Values computed from parameters, such as a masked or normalised kernel: labels on each of their axes.

An entry of a parameter with several axes has a factor from each of them. Such a value is therefore traced once for each
axis, as a strand, by the rules for activations: what holds for every axis by itself holds together.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Role
from hyperframe.targets.tracing.findings import FoundLayer, View
from hyperframe.targets.tracing.labels import ZERO, Activation, uniform, varies
from hyperframe.targets.tracing.rules.elementwise import pointwise
from hyperframe.targets.tracing.rules.registry import RULES, Operation, Rule, flat
from hyperframe.targets.tracing.state import Discovery

TAPS = "hwduvtxyz"
"""Letters of axes that are neither the filters' nor what a kernel reads."""


@attrs.frozen(eq=False)
class Strand:
    """A computed value as one axis of a parameter sees it.

    Attributes:
        labels: its entries' units, factors and signs, of this axis alone.
        origins: the axes that it comes from, by parameter and number; several where computed values met.
    """

    labels: Activation
    origins: frozenset[tuple[str, int]]

    def axes(self) -> set[int]:
        """Find the axes that it differs along, counted from the last, −1."""
        fields = (self.labels.unit, self.labels.scale, self.labels.sign)
        rank = len(self.labels.shape)
        return {axis - rank for axis in range(rank) if any(_differs(field, axis) for field in fields)}


def _differs(labels: Tensor, axis: int) -> bool:
    """Whether labels differ along an axis, zeros aside: these have whatever label there is."""
    if not varies(labels, axis):
        return False
    lowest = torch.where(labels == ZERO, HIGHEST, labels).amin(axis)
    highest = torch.where(labels == ZERO, ZERO, labels).amax(axis)
    return bool((lowest < highest).any())


HIGHEST = torch.iinfo(torch.int64).max


@attrs.frozen(eq=False)
class Computed:
    """A value that is computed from parameters alone.

    Attributes:
        strands: one for each axis of theirs that still matters.
        body: the same entries without labels, beside the strands of another value.
        sources: the parameters.
    """

    strands: tuple[Strand, ...]
    body: Activation
    sources: tuple[View, ...]

    @property
    def shape(self) -> torch.Size:
        """The value's shape."""
        return self.body.shape


def compute_from(found: Discovery, view: View) -> Computed:
    """Make a computed value of a parameter, with new labels on each axis."""
    found.parameters.note_computed_from(view)
    known = [axis for axis, dim in enumerate(view.dims) if dim is not None]
    strands = []
    for axis in [axis for axis in known if view.shape[axis] > 1] or known[:1]:
        size = view.shape[axis]
        labels = found.new_labels(found.units.new(size) if size > 1 else uniform((1,)))
        # All rows share the labels along other axes.
        whole = view if view.dims[axis] == view.rows_dim else attrs.evolve(view, rows=None, rows_dim=None)
        found.parameters.label(whole, axis, 1, labels)
        strands.append(Strand(found.lay_out(view.shape, axis, labels), frozenset({(view.name, view.dims[axis] or 0)})))
    return Computed(tuple(strands), found.opaque(view.shape), (view,))


def apply(operation: Operation) -> Any:
    """Apply an operation to its arguments: by its rule, or with parameters as computed values; None if unknown."""
    if operation.name in TAKEN_APART:
        return TAKEN_APART[operation.name](operation)
    if not any(isinstance(value, Computed) for value in operation.inputs):
        result = apply_rule(operation)
        if result is not None or not operation.has_parameters:
            return result
    operation = attrs.evolve(operation, sources=(None,) * len(operation.args))
    if operation.name in COMPUTED:
        return COMPUTED[operation.name](operation)
    if any(isinstance(value, View | Computed) for value in flat(operation.kwargs.values())):
        return None
    operation = operation.map(lambda value: compute_from(operation.found, value), View)
    if any(isinstance(value, Activation) for value in flat(operation.args)):
        return _apply_beside(operation)
    return _apply_to_strands(operation)


COMPUTED: dict[str, Rule] = {}
"""Rules for operations of which an argument has a role of its own, such as a kernel, and is computed."""

TAKEN_APART: dict[str, Rule] = {}
"""Operations that are made of others, whatever their arguments are."""


def step(operation: Operation, name: str, *args: Any, shape: Sequence[int] | None = None) -> Any:
    """Apply one of the operations that another is made of; None where one before it, or this one, is not known."""
    if any(value is None for value in args):
        return None
    size = operation.shape if shape is None else torch.Size(shape)
    part = attrs.evolve(
        operation, name=name, function=None, args=args, kwargs={}, shape=size, sources=(None,) * len(args)
    )
    return apply(part)


def rule_of(operation: Operation) -> Rule | None:
    """Return the rule of an operation, by its name and overload, or else by its name."""
    overload = f"{operation.name}.{getattr(operation.function, '_overloadname', '')}"
    return RULES.get(overload, RULES.get(operation.name))


def apply_rule(operation: Operation) -> Any:
    """Apply an operation's rule; of a function of each entry without one, units pass."""
    found, own = operation.found, rule_of(operation)
    result = None if own is None else own(operation)
    if result is None and torch.Tag.pointwise in getattr(operation.function, "tags", ()):
        carried = [value for value in operation.args if isinstance(value, Activation)]
        lost = any(found.has_factors(value) for value in carried)
        result = pointwise(operation)
        if result is not None and lost:
            found.report_here("units pass, factors and signs do not: no rule knows it")
    return result


def _apply_to_strands(operation: Operation) -> Any:
    """Apply an operation to computed values only: by the rule for activations, for each strand and the body."""
    values = [value for value in flat(operation.args) if isinstance(value, Computed)]
    sources = tuple({view.name: view for value in values for view in value.sources}.values())
    results = []
    groups = _group_strands(values)
    groups.append([None] * len(values))  # the body
    for group in groups:
        chosen = iter(group)

        def labels(value: Computed, chosen: Iterator[Strand | None] = chosen) -> Activation:
            strand = next(chosen)
            return value.body if strand is None else strand.labels

        result = apply_rule(operation.map(labels, Computed))
        if result is None:
            return None
        origins = frozenset[tuple[str, int]]().union(*(strand.origins for strand in group if strand is not None))
        results.append((result, origins))
    if isinstance(results[0][0], tuple):
        parts = range(len(results[0][0]))
        return tuple(_join([(result[part], origins) for result, origins in results], sources) for part in parts)
    return _join(results, sources)


def _join(results: list[tuple[Any, frozenset[tuple[str, int]]]], sources: tuple[View, ...]) -> Any:
    """Make one value of each strand's labels, and last the body's; numbers where it depends on no parameter."""
    if not all(isinstance(labels, Activation) for labels, _ in results):
        return results[-1][0]
    strands = tuple(Strand(labels, origins) for labels, origins in results[:-1])
    return Computed(strands, results[-1][0], sources)


def _group_strands(values: Sequence[Computed]) -> list[list[Strand | None]]:
    """Group strands of several values that belong together: of the same origin, or else along the same axes."""
    groups: list[list[Strand | None]] = []
    for number, value in enumerate(values):
        for strand in value.strands:
            free = [group for group in groups if group[number] is None]
            same = [group for group in free if any(other and other.origins & strand.origins for other in group)]
            axes = strand.axes()
            same = same or [group for group in free if any(other and axes and other.axes() == axes for other in group)]
            if same:
                same[0][number] = strand
            else:
                groups.append([strand if place == number else None for place in range(len(values))])
    return groups


def _apply_beside(operation: Operation) -> Any:
    """Apply an operation to activations and computed values: of each of these the strand along the former's units."""
    found, rank = operation.found, len(operation.shape) if isinstance(operation.shape, torch.Size) else 0
    axes = {
        axis - len(value.shape)
        for value in flat(operation.args)
        if isinstance(value, Activation)
        for axis in range(len(value.shape))
        if varies(value.unit, axis)
    }
    chosen: list[tuple[Computed, Strand | None]] = []

    def choose(value: Computed) -> Activation:
        strand = next((strand for strand in value.strands if strand.axes() & axes), None)
        if strand is None and rank > 1:
            strand = next((strand for strand in value.strands if strand.axes() == {1 - rank}), None)
        chosen.append((value, strand))
        return value.body if strand is None else strand.labels

    result = apply_rule(operation.map(choose, Computed))
    role: Role = "scale" if operation.name in ("mul", "div") else "shift"
    for value, strand in chosen if result is not None else ():
        for other in value.strands:
            if other is not strand:
                found.freeze(other.labels)
        claim_apart(found, value.sources, role, frozenset() if strand is None else strand.origins)
    return result


def claim_apart(found: Discovery, sources: Sequence[View], role: Role, filters: frozenset[tuple[str, int]]) -> None:
    """Give each parameter a layer of its own, with its filters along the axis that is among the origins given."""
    for view in sources:
        known = [dim for dim in view.dims if dim is not None]
        at = next((dim for dim in known if (view.name, dim) in filters), known[0])
        taps = iter(TAPS)
        letters = ["o" if dim == at else next(taps) for dim in range(view.rank)]
        found.parameters.claim_computed(FoundLayer(name=view.owner, filters=0), role, view, letters)
