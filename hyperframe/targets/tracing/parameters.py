"""Labels on parameters, and which layer has which parameter: one that is used in several ways loses its labels."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import attrs
import torch

from hyperframe.targets.params import Param, Role
from hyperframe.targets.tracing.findings import Findings, FoundLayer, View
from hyperframe.targets.tracing.labels import Labels

Rows = tuple[int, int] | None


class AxisKey(NamedTuple):
    """One axis of a parameter, or of some of its rows, and the exponent with which its factors are multiplied."""

    parameter: str
    rows: Rows
    dim: int
    exponent: int


@attrs.frozen(eq=False)
class AxisLabels:
    """The labels on one axis of a parameter, or of some of its rows; for groups see `Axis` of `structure`."""

    labels: Labels
    groups: int


class Parameters:
    """The parameters that operations have used so far.

    Attributes:
        layers: in execution order.
        axes: labels on the axes of parameters.
        reused: parameters that several operations use.
        unlabelled: parameters that only unknown operations use; each stands for a layer of its own in `layers`.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.layers: list[FoundLayer] = []
        self.axes: dict[AxisKey, AxisLabels] = {}
        self.reused: set[str] = set()
        self.unlabelled: list[str] = []
        self._claimed: dict[str, list[tuple[Rows, tuple[object, ...]]]] = {}
        self._frozen: set[str] = set()
        self._computed_from: set[str] = set()

    def claim(self, layer: FoundLayer, role: Role, view: View, axes: str) -> None:
        """Give a layer a parameter, or rows of one, unless an earlier operation has used it.

        A layer is noted with its first parameter. `axes` has a letter for each of the view's axes. A parameter that is
        used again in another way loses its labels.
        """
        letters = list("jklmnpqr"[: view.rank])  # for axes of size 1 that the view leaves out
        for letter, dim in zip(axes.split(), view.dims, strict=True):
            if dim is not None:
                letters[dim] = letter
        if view.name in self._computed_from:
            self.freeze_shared(view.name)
        use = (role, *letters, layer.groups)
        earlier = self._claimed.get(view.name, [])
        used_again = self._is_used(view.name, view.rows)
        if (view.rows, use) in earlier:
            return
        if used_again or any(other != use for _, other in earlier):
            self.freeze_shared(view.name)
        if not used_again:
            self._add(layer, role, view.name, letters, view.rows)

    def claim_computed(self, layer: FoundLayer, role: Role, view: View, letters: Sequence[str]) -> None:
        """Give a layer a parameter from which what it uses is computed, unless one has it already.

        `letters` are of the parameter's own axes. All uses of such a parameter share its labels, whatever they are.
        """
        rows = view.rows if view.rows_dim is not None and letters[view.rows_dim] == "o" else None
        if not self._is_used(view.name, rows):
            self._add(layer, role, view.name, letters, rows)

    def _is_used(self, name: str, rows: Rows) -> bool:
        """Whether a layer has a parameter, or some of these rows, already; it is noted as used several times then."""
        used = any(_overlap(own, rows) for own, _ in self._claimed.get(name, []))
        if used:
            self.reused.add(name)
        return used

    def _add(self, layer: FoundLayer, role: Role, name: str, letters: Sequence[str], rows: Rows) -> None:
        self._claimed.setdefault(name, []).append((rows, (role, *letters, layer.groups)))
        layer.params.append(Param(role=role, parameter=name, axes=" ".join(letters), rows=rows))
        if layer not in self.layers:
            self.layers.append(layer)

    def note_computed_from(self, view: View) -> None:
        """Note that other values are computed from a parameter; one that operations also use as it is is frozen."""
        if view.name in self._claimed and view.name not in self._computed_from:
            self.freeze_shared(view.name)
        self._computed_from.add(view.name)

    def add_unlabelled(self, view: View) -> None:
        """Make a layer without labels of a parameter that something unknown uses, unless it belongs to one."""
        if view.name in self._claimed:
            self.freeze_shared(view.name)
            return
        self.freeze(view.name)
        self._claimed[view.name] = [(None, ())]
        self.unlabelled.append(view.name)
        self.layers.append(FoundLayer(name=view.name, filters=0))

    def add_unclaimed(self, views: Iterable[View]) -> None:
        """Make a layer without labels of each parameter that operations use, but that no layer has."""
        for view in views:
            if view.name not in self._claimed:
                self.add_unlabelled(view)

    def freeze(self, name: str) -> None:
        """Freeze all labels of a parameter, now and later, whoever has it; a reason has been reported."""
        self._frozen.add(name)
        for key, axis in self.axes.items():
            if key.parameter == name:
                self._findings.freeze(axis.labels)

    def freeze_shared(self, name: str) -> None:
        """Freeze a parameter that is used in ways that do not go together, and say so."""
        if name not in self._frozen:
            self._findings.report("shared parameter", name, "it is used in different ways")
        self.reused.add(name)
        self.freeze(name)

    def label(
        self, view: View, dim: int, exponent: int, labels: Labels, groups: int = 1, *, whole: bool = False
    ) -> None:
        """Put labels on one axis of a view of a parameter; a parameter that is used again unites both uses.

        With groups, units change places within them only, unless groups move as a `whole`.
        """
        found, axis, size = self._findings, view.dims[dim], len(labels.unit)
        if axis is None:
            found.report_here(f"parameter '{view.name}' does not have the axis along which units stand")
        if axis is None or view.name in self._frozen:
            found.freeze(labels)
            return
        key = AxisKey(view.name, view.rows, axis, exponent)
        earlier = self.axes.get(key)
        if earlier is not None and (len(earlier.labels.unit), earlier.groups) != (size, groups):
            self.freeze_shared(view.name)
            found.freeze(labels)
        elif earlier is not None:
            self.axes[key] = AxisLabels(found.merge(earlier.labels, labels), groups)
        else:
            self.axes[key] = AxisLabels(labels, groups)
            blocks = torch.zeros(1, dtype=torch.int64).expand(size)
            if groups > 1 and not whole:
                blocks = torch.arange(groups).repeat_interleave(size // groups)
            found.trail.append((labels.unit, blocks))


def _overlap(one: Rows, other: Rows) -> bool:
    """Whether two spans of rows have a row in common; None are all rows."""
    return one is None or other is None or (one[0] < other[1] and other[0] < one[1])
