"""The state of one tracing: what its rules have found so far, and how they label activations."""

from collections.abc import Iterable, Sequence
from itertools import count

import torch
from torch import Tensor

from hyperframe.targets.tracing.findings import Findings, FoundLayer, View
from hyperframe.targets.tracing.labels import (
    FIXED,
    ZERO,
    Activation,
    Labels,
    Partition,
    compact,
    spread,
    squeeze,
    uniform,
    varies,
)
from hyperframe.targets.tracing.parameters import Parameters


class Discovery(Findings):
    """The state of one tracing.

    Attributes:
        parameters: those that operations use, with the labels on them and the layers that have them.
        producers: for a node of the graph the layer whose outputs it is.
        absorbing: nodes of the graph that take a constant of each channel away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parameters = Parameters(self)
        self.producers: dict[str, FoundLayer] = {}
        self.absorbing: set[str] = set()
        self._numbers = count(1 << 40)

    def new_codes(self, shape: Iterable[int]) -> Tensor:
        """Make codes that nothing else has, one for each entry."""
        size = torch.Size(shape)
        first = next(self._numbers)
        self._numbers = count(first + size.numel())
        return torch.arange(first, first + size.numel()).view(size)

    def constant(self, values: Tensor) -> Activation:
        """Label known numbers: they are of no unit, and free of factors where they are zero."""
        if values.is_complex():
            return self.opaque(values.shape)
        # A number's bits are its code: those of 0 aside, they lie far from all that is counted up from 0 or 1 << 40.
        bits = (squeeze(values.double()) + 0.0).contiguous().view(torch.int64)
        code = torch.where(bits == 0, (1 << 40) - 1, bits).expand(values.shape)
        free = compact(torch.where(squeeze(values) == 0, ZERO, FIXED).expand(values.shape))
        return Activation(uniform(values.shape), free, free, compact(code))

    def opaque(self, shape: Iterable[int]) -> Activation:
        """Label entries of which nothing is known: they are of no unit, and each differs from all others."""
        size = torch.Size(shape)
        none = uniform(size)
        return Activation(none, none, none, self.new_codes(size))

    def along(self, value: Activation, dim: int) -> Labels:
        """Find one unit, factor and sign for each place of an axis, for an operation that mixes whatever is there."""
        self.note(value)
        unit = self._unit_along(value, dim)
        return Labels(unit, _factor_along(value.scale, dim, self.scales), _factor_along(value.sign, dim, self.signs))

    def unit_axes(self, value: Activation) -> list[int]:
        """Find the axes along which units stand: where they differ, and each place can be of one unit."""
        axes = [axis for axis in range(len(value.shape)) if varies(value.unit, axis)]
        return axes if len(axes) < 2 else [axis for axis in axes if not self.units.clash(_rows(value.unit, axis))]

    def crosses(self, value: Activation, dim: int) -> bool:
        """Whether units, factors or signs stand along other axes than this one."""
        fields = [(partition, _rows(labels, dim)) for partition, labels in self.pairs(value)]
        mixed = [(partition, rows) for partition, rows in fields if rows.shape[1] > 1]
        if not any(partition.clash(rows) for partition, rows in mixed):
            return False
        return not any(partition.clash(rows.T) for partition, rows in fields)

    def wholes(self, unit: Tensor, dims: Sequence[int]) -> Tensor | None:
        """Make a unit of each set of units that stand along some axes, which have size 1 then; None where it is one."""
        moved = compact(unit).movedim(list(dims), list(range(-len(dims), 0))).flatten(-len(dims))
        kept = moved.shape[:-1]
        for axis in range(moved.dim() - 1):
            if not varies(moved, axis):
                moved = moved.narrow(axis, 0, 1)
        rows = self.units.united()[moved.reshape(-1, moved.shape[-1])]
        distinct, places = torch.unique(rows, dim=0, return_inverse=True)
        if len(distinct) == 1 or bool((rows == FIXED).any()):
            return None
        whole = self.units.new(len(distinct))[places].view(moved.shape[:-1]).expand(kept)
        for dim in sorted(dim % unit.dim() for dim in dims):
            whole = whole.unsqueeze(dim)
        self.note_inside(unit, whole)
        return whole

    def add_table(self, view: View, at: int) -> Activation:
        """Make an activation of a parameter, such as a token that is learnt: its units stand along one axis."""
        size = view.shape[at]
        labels = self.new_labels(self.units.new(size))
        self.parameters.claim(FoundLayer(name=view.owner, filters=size), "shift", view, view.letters(at))
        self.parameters.label(view, at, 1, labels)
        return self.lay_out(view.shape, at, labels)

    def lay_out(self, shape: Iterable[int], dim: int, labels: Labels, group: Tensor | None = None) -> Activation:
        """Make an activation with one unit, factor and sign for each place of an axis; it goes into the trail.

        Args:
            shape: of the activation.
            dim: the axis.
            labels: of its places.
            group: a number for each place; only units with the same numbers can change places.
        """
        size = torch.Size(shape)
        rest = [1 if axis == dim else length for axis, length in enumerate(size)]
        code = torch.arange(torch.Size(rest).numel()).view(rest).expand(size)
        unit = spread(labels.unit, size, dim)
        if bool((labels.unit == FIXED).any()):
            code = torch.where(unit == FIXED, self.new_codes(size), code)
        scale, sign = (spread(compact(own), size, dim) for own in (labels.scale, labels.sign))
        value = Activation(unit, scale, sign, code)
        self.note(value)
        if group is not None:
            self.trail.append((labels.unit, group))
        return value

    def _unit_along(self, value: Activation, dim: int) -> Tensor:
        rows = _rows(value.unit, dim)
        if rows.shape[1] == 1:
            return rows[:, 0]
        inside = rows != FIXED
        if bool((inside.any(1) & ~inside.all(1)).any()):  # as zeros around an image
            self._check_around(value, dim)
        mixed = self.units.clash(rows)
        first = rows.gather(1, inside.int().argmax(1, keepdim=True))
        self.units.unite(torch.where(inside, rows, first), first)
        if mixed and not self.units.clash(rows.reshape(1, -1)):
            self.report_here("it mixes all units of a layer, which can only move together")
        return first[:, 0]

    def _check_around(self, value: Activation, dim: int) -> None:
        """Freeze units beside which other numbers stand at one place of an axis than at another."""
        codes = _rows(value.code.expand(value.shape), dim, squeezed=False)
        around = torch.where(_rows(value.unit, dim, squeezed=False) == FIXED, codes, FIXED)
        if not bool((around == around[:1]).all()):
            if self.units.alive(value.unit):
                self.report_here("units stand beside numbers that differ")
            self.units.freeze(value.unit)


def _factor_along(labels: Tensor, dim: int, partition: Partition) -> Tensor:
    rows = _rows(labels, dim)
    if rows.shape[1] == 1:
        return rows[:, 0]
    first = rows.gather(1, (rows != ZERO).int().argmax(1, keepdim=True))
    partition.unite(rows, first)
    return first[:, 0]


def _rows(labels: Tensor, dim: int, squeezed: bool = True) -> Tensor:
    """Lay labels out as a matrix: a row for each place of an axis, a column for all else."""
    if squeezed and not any(varies(labels, axis) for axis in range(labels.dim()) if axis != dim):
        index = [slice(None) if axis == dim else slice(0, 1) for axis in range(labels.dim())]
        return labels[tuple(index)].reshape(-1, 1)
    return labels.movedim(dim, 0).reshape(labels.shape[dim], -1)
