"""What tracing has found so far: labels of units, factors and signs, the layers, and the labels on their parameters."""

from collections.abc import Iterable, Sequence
from itertools import count

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Param, Role
from hyperframe.targets.tracing.factors import Factors
from hyperframe.targets.tracing.findings import AxisLabels, FoundLayer, Frozen, View
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, Partition, compact, spread, squeezed, varies


class Discovery:
    """The state of one tracing.

    Attributes:
        units: labels of what moves together.
        scales: labels of positive factors.
        signs: labels of signs.
        layers: in execution order.
        frozen: what was left without symmetries, and why.
        trail: units and codes of every activation, and of every axis of a parameter, in execution order.
        axes: labels by parameter, its rows, its axis and the exponent.
        reused: parameters that several operations use.
        unlabelled: parameters that only unknown operations use; each stands for a layer of its own in `layers`.
        producers: for a node of the graph the layer whose outputs it is.
        at: the operation that is looked at, and the module that it is in.
        absorbing: nodes of the graph that take a constant of each channel away.
    """

    def __init__(self) -> None:
        self.units, self.scales, self.signs = Partition(), Factors(), Factors(signs=True)
        self.layers: list[FoundLayer] = []
        self.frozen: list[Frozen] = []
        self.trail: list[tuple[Tensor, Tensor]] = []
        self.axes: dict[tuple[str, tuple[int, int] | None, int, int], AxisLabels] = {}
        self.reused: set[str] = set()
        self.unlabelled: list[str] = []
        self.producers: dict[str, FoundLayer] = {}
        self.at = ("", "")
        self.absorbing: set[str] = set()
        self._claimed: dict[str, list[tuple[tuple[int, int] | None, tuple[object, ...]]]] = {}
        self._conflicts: set[str] = set()
        self._lifted: set[str] = set()
        self._numbers = count(1 << 40)
        self._values: dict[float, int] = {}

    def report(self, op: str, place: str, why: str) -> None:
        """Note that something is left without symmetries."""
        entry = Frozen(op, place, why)
        if entry not in self.frozen:
            self.frozen.append(entry)

    def lose(self, value: Activation, why: str) -> None:
        """Freeze what might well have symmetries that the operation at hand cannot keep, and say so."""
        if any(part.alive(labels) for part, labels in self._parts(value)):
            self.report(*self.at, why)
        self.freeze(value)

    def has_factors(self, value: Activation) -> bool:
        """Whether an activation carries a factor or a sign that is not frozen."""
        return self.scales.alive(value.scale) or self.signs.alive(value.sign)

    def _parts(self, value: Activation) -> list[tuple[Partition, Tensor]]:
        return [(self.units, value.unit), (self.scales, value.scale), (self.signs, value.sign)]

    def new_codes(self, shape: Iterable[int]) -> Tensor:
        """Codes that nothing else has, one for each entry."""
        size = torch.Size(shape)
        first = next(self._numbers)
        self._numbers = count(first + size.numel())
        return torch.arange(first, first + size.numel()).view(size)

    def constant(self, values: Tensor) -> Activation:
        """The labels of known numbers: of no unit, and free of factors where they are zero."""
        if values.is_complex():
            return self.opaque(values.shape)
        compacted = squeezed(values.double())
        distinct, places = torch.unique(compacted, return_inverse=True)
        codes = torch.tensor([self._code_of(value) for value in distinct.tolist()], dtype=torch.int64)
        code = codes[places].view(compacted.shape).expand(values.shape)
        free = torch.where(squeezed(values) == 0, ZERO, FIXED).expand(values.shape)
        free = compact(free)
        return Activation(torch.full((1,) * values.dim(), FIXED).expand(values.shape), free, free, compact(code))

    def _code_of(self, value: float) -> int:
        if value not in self._values:
            self._values[value] = next(self._numbers)
        return self._values[value]

    def opaque(self, shape: Iterable[int]) -> Activation:
        """Labels of entries of which nothing is known: of no unit, each different from all others."""
        size = torch.Size(shape)
        none = torch.full((1,) * len(size), FIXED).expand(size)
        return Activation(none, none, none, self.new_codes(size))

    def freeze(self, value: Activation) -> None:
        """Nothing that this activation carries may move or be scaled, as at a network's output."""
        for partition, labels in self._parts(value):
            partition.freeze(labels)

    def along(self, value: Activation, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        """One unit, factor and sign for each place of an axis, for an operation that mixes whatever is there."""
        self.note(value)
        unit = self._unit_along(value, dim)
        return unit, self._factor_along(value.scale, dim, self.scales), self._factor_along(value.sign, dim, self.signs)

    def unit_axes(self, value: Activation) -> list[int]:
        """The axes along which units stand: where they differ, and what stands at one place can be of one unit."""
        axes = [axis for axis in range(len(value.shape)) if varies(value.unit, axis)]
        return axes if len(axes) < 2 else [axis for axis in axes if not self.units.clash(_rows(value.unit, axis))]

    def table(self, view: View, at: int) -> Activation:
        """A parameter as an activation, such as a token that is learnt: units, factors and signs along one axis."""
        size = view.shape[at]
        unit, scale, sign = self.units.new(size), self.scales.new(size), self.signs.new(size)
        self.claim(FoundLayer(name=view.owner, filters=size), "shift", view, view.letters(at))
        self.label(view, at, 1, unit, scale, sign)
        return self.laid_out(view.shape, at, unit, scale, sign)

    def across(self, value: Activation, dim: int) -> bool:
        """Whether units, factors or signs stand along other axes than this one."""
        fields = [(partition, _rows(labels, dim)) for partition, labels in self._parts(value)]
        mixed = [(partition, rows) for partition, rows in fields if rows.shape[1] > 1]
        if not any(partition.clash(rows) for partition, rows in mixed):
            return False
        return not any(partition.clash(rows.T) for partition, rows in fields)

    def _unit_along(self, value: Activation, dim: int) -> Tensor:
        rows = _rows(value.unit, dim)
        if rows.shape[1] == 1:
            return rows[:, 0]
        inside = rows != FIXED
        if bool((inside.any(1) & ~inside.all(1)).any()):  # as zeros around an image
            codes = _rows(value.code.expand(value.shape), dim, squeeze=False)
            around = torch.where(_rows(value.unit, dim, squeeze=False) == FIXED, codes, FIXED)
            if not bool((around == around[:1]).all()):
                if self.units.alive(value.unit):
                    self.report(*self.at, "units stand beside numbers that differ")
                self.units.freeze(value.unit)
        mixed = self.units.clash(rows)
        first = rows.gather(1, inside.int().argmax(1, keepdim=True))
        self.units.unite(torch.where(inside, rows, first), first)
        if mixed and not self.units.clash(rows.reshape(1, -1)):
            self.report(*self.at, "it mixes all units of a layer, which can only move together")
        return first[:, 0]

    def _factor_along(self, labels: Tensor, dim: int, partition: Partition) -> Tensor:
        rows = _rows(labels, dim)
        if rows.shape[1] == 1:
            return rows[:, 0]
        set_ones = rows != ZERO
        first = rows.gather(1, set_ones.int().argmax(1, keepdim=True))
        partition.unite(rows, first)
        return first[:, 0]

    def laid_out(
        self, shape: Iterable[int], dim: int, unit: Tensor, scale: Tensor, sign: Tensor, group: Tensor | None = None
    ) -> Activation:
        """A new activation with one unit, factor and sign for each place of an axis; it goes into the trail.

        Args:
            shape: of the activation.
            dim: the axis.
            unit, scale, sign: labels for each of its places.
            group: a number for each place; only units with the same numbers can change places.
        """
        size = torch.Size(shape)
        rest = [1 if axis == dim else length for axis, length in enumerate(size)]
        code = torch.arange(torch.Size(rest).numel()).view(rest).expand(size)
        if bool((unit == FIXED).any()):
            loose = spread(unit, size, dim) == FIXED
            code = torch.where(loose, self.new_codes(size), code)
        value = Activation(
            spread(unit, size, dim), spread(compact(scale), size, dim), spread(compact(sign), size, dim), code
        )
        self.note(value)
        if group is not None:
            self.trail.append((unit, group))
        return value

    def note(self, value: Activation) -> None:
        """Put an activation into the trail: units that are there in different ways cannot change places."""
        self.trail.append((value.unit, value.code))

    def note_with(self, unit: Tensor, partner: Tensor) -> None:
        """Put units into the trail beside numbers that must be equal where units change places."""
        self.trail.append((unit, compact(partner.expand(unit.shape))))

    def claim(self, layer: FoundLayer, role: Role, view: View, axes: str) -> None:
        """Give a layer a parameter, or rows of one, unless an earlier operation has used it.

        A layer is noted with its first parameter. `axes` has a letter for each of the view's axes. A parameter that is
        used again in another way loses its labels.
        """
        letters = list("jklmnpqr"[: view.rank])  # for axes of size 1 that the view leaves out
        for letter, dim in zip(axes.split(), view.dims, strict=True):
            if dim is not None:
                letters[dim] = letter
        if view.name in self._lifted:
            self.conflict(view.name)
        use = (role, *letters, layer.groups)
        earlier = self._claimed.setdefault(view.name, [])
        if earlier and (view.rows is None or any(rows is None or _overlap(rows, view.rows) for rows, _ in earlier)):
            self.reused.add(view.name)
        if (view.rows, use) in earlier:
            return
        if any(rows is None or view.rows is None or _overlap(rows, view.rows) for rows, _ in earlier):
            self.conflict(view.name)
            return
        if earlier and any(other != use for _, other in earlier):
            self.conflict(view.name)
        earlier.append((view.rows, use))
        layer.params.append(Param(role=role, parameter=view.name, axes=" ".join(letters), rows=view.rows))
        if layer not in self.layers:
            self.layers.append(layer)

    def lift(self, view: View) -> None:
        """Note that other values are computed from a parameter; one that operations also use as it is conflicts."""
        if view.name in self._claimed and view.name not in self._lifted:
            self.conflict(view.name)
        self._lifted.add(view.name)

    def claim_lifted(self, layer: FoundLayer, role: Role, view: View, letters: Sequence[str]) -> bool:
        """Give a layer a parameter from which what it uses is computed, unless one has it already; whether it got it.

        `letters` are of the parameter's own axes. All uses of such a parameter share its labels, whatever they are.
        """
        span = view.rows if view.rows_dim is not None and letters[view.rows_dim] == "o" else None
        earlier = self._claimed.setdefault(view.name, [])
        if any(rows is None or span is None or _overlap(rows, span) for rows, _ in earlier):
            self.reused.add(view.name)
            return False
        earlier.append((span, (role, *letters, layer.groups)))
        layer.params.append(Param(role=role, parameter=view.name, axes=" ".join(letters), rows=span))
        if layer not in self.layers:
            self.layers.append(layer)
        return True

    def stop(self, name: str) -> None:
        """All labels of a parameter are frozen, now and later, whoever has it; a reason has been reported."""
        self._conflicts.add(name)
        self._freeze_parameter(name)

    def leftover(self, views: Iterable[View]) -> None:
        """Make a layer without labels of each parameter that operations use, but that no layer has."""
        for view in views:
            if view.name not in self._claimed:
                self.plain(view)

    def plain(self, view: View) -> None:
        """Something unknown uses a parameter: all of it makes a layer without labels, unless it belongs to one."""
        if view.name in self._claimed:
            self.conflict(view.name)
            return
        self.stop(view.name)
        self._claimed[view.name] = [(None, ())]
        self.unlabelled.append(view.name)
        self.layers.append(FoundLayer(name=view.name, filters=0))

    def conflict(self, name: str) -> None:
        """A parameter is used in ways that do not go together: all labels on it are frozen, now and later."""
        if name not in self._conflicts:
            self.report("shared parameter", name, "it is used in different ways")
        self._conflicts.add(name)
        self.reused.add(name)
        self._freeze_parameter(name)

    def _freeze_parameter(self, name: str) -> None:
        for key, labels in self.axes.items():
            if key[0] == name:
                self._freeze_axis(labels)

    def label(
        self,
        view: View,
        dim: int,
        exponent: int,
        unit: Tensor,
        scale: Tensor,
        sign: Tensor,
        groups: int = 1,
        *,
        whole: bool = False,
    ) -> None:
        """Put labels on one axis of a view of a parameter; a parameter that is used again unites both uses.

        With groups, units change places within them only, unless groups move as a `whole`.
        """
        axis = view.dims[dim]
        labels = AxisLabels(unit, scale, sign, groups)
        if axis is None:
            self.report(*self.at, f"parameter '{view.name}' does not have the axis along which units stand")
        if axis is None or view.name in self._conflicts:
            self._freeze_axis(labels)
            return
        key = (view.name, view.rows, axis, exponent)
        if key in self.axes:
            earlier = self.axes[key]
            if len(earlier.unit) != len(unit) or earlier.groups != groups:
                self.conflict(view.name)
                self._freeze_axis(labels)
                return
            self.units.unite(earlier.unit, unit)
            scale = self.scales.merged(earlier.scale, scale)
            sign = self.signs.merged(earlier.sign, sign)
            self.axes[key] = attrs.evolve(earlier, scale=scale, sign=sign)
            return
        self.axes[key] = labels
        blocks = torch.zeros(1, dtype=torch.int64).expand(len(unit))
        if groups > 1 and not whole:
            blocks = torch.arange(groups).repeat_interleave(len(unit) // groups)
        self.trail.append((unit, blocks))

    def _freeze_axis(self, labels: AxisLabels) -> None:
        self.units.freeze(labels.unit)
        self.scales.freeze(labels.scale)
        self.signs.freeze(labels.sign)


def _rows(labels: Tensor, dim: int, squeeze: bool = True) -> Tensor:
    """Labels as a matrix: a row for each place of an axis, a column for all else."""
    if squeeze and not any(varies(labels, axis) for axis in range(labels.dim()) if axis != dim):
        index = [slice(None) if axis == dim else slice(0, 1) for axis in range(labels.dim())]
        return labels[tuple(index)].reshape(-1, 1)
    return labels.movedim(dim, 0).reshape(labels.shape[dim], -1)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
