"""Records of what tracing finds: parameters as operations see them, layers, labels united or frozen, reports."""

import re
from typing import TypeVar

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Param, Role
from hyperframe.targets.spec import Norm
from hyperframe.targets.tracing.factors import Factors
from hyperframe.targets.tracing.labels import FIXED, ZERO, Activation, Labels, Partition, compact, distinct_pairs

LETTERS = "xyzwvu"
PARAMETRIZATION = re.compile(r"(parametrizations\.(?=\w+\.original\d*$)|\.original\d*$|_(g|v|orig)$)")
"""Parts of a parameter's name that torch's parametrizations, and its older weight_norm and pruning, add."""


@attrs.frozen(eq=False)
class View:
    """A parameter as an operation sees it: axes in another order, axes of size 1, some rows of one axis.

    Attributes:
        name: the parameter.
        rank: the number of its axes.
        shape: of the view.
        dims: for each of the view's axes the parameter's; None for one that the parameter does not have, of size 1 or
            along which it is repeated.
        rows: first and one past the last row, where the view is a part of the parameter.
        rows_dim: the parameter's axis that `rows` are of.
    """

    name: str
    rank: int
    shape: tuple[int, ...]
    dims: tuple[int | None, ...]
    rows: tuple[int, int] | None = None
    rows_dim: int | None = None

    @property
    def owner(self) -> str:
        """The module that holds it, where this is one of a module's usual parameters; else its own name."""
        module, _, own = PARAMETRIZATION.sub("", self.name).rpartition(".")
        return module if own in ("weight", "bias") and module else self.name

    @property
    def wide(self) -> list[int]:
        """The axes along which its entries differ."""
        return [axis for axis, size in enumerate(self.shape) if size > 1 and self.dims[axis] is not None]

    def letters(self, at: int) -> str:
        """Return a letter for each axis, with the filters at one of them."""
        return " ".join("o" if axis == at else LETTERS[axis] for axis in range(len(self.shape)))


@attrs.define(eq=False)
class FoundLayer:
    """A layer, as far as it has been found: later operations may add a normalisation's scale and shift.

    Attributes:
        name: of the module that holds its first parameter.
        filters: how many; 0 where they are counted when the spec is made.
        groups: of its kernel.
        params: as in a `LayerSpec`.
        norm: the normalisation that its scale and shift belong to.
        ops: what its outputs pass through before they are read by others.
        writes: the units that it writes.
        channel: the axis of its outputs that its filters are along.
        shift_absorbed: whether a normalisation swallows its bias.
        computed: whether its kernel is computed from its parameters.
    """

    name: str
    filters: int
    groups: int = 1
    params: list[Param] = attrs.field(factory=list)
    norm: Norm = "none"
    ops: list[str] = attrs.field(factory=list)
    writes: Tensor | None = None
    channel: int = 1
    shift_absorbed: bool = False
    computed: bool = False

    @property
    def roles(self) -> set[Role]:
        """The roles that are taken."""
        return {param.role for param in self.params}


@attrs.frozen
class Frozen:
    """Something that tracing left without symmetries: the operation or the check that caused it, and where it is."""

    op: str
    place: str
    why: str


SomeLabels = TypeVar("SomeLabels", bound=Labels)


class Findings:
    """Labels that are united or frozen, where units stand, and what is left without symmetries.

    Attributes:
        units: labels of what moves together.
        scales: labels of positive factors.
        signs: labels of signs.
        factors: the labels of factors and of signs, by their names in `Labels`.
        trail: units and codes of every activation, and of every axis of a parameter, in execution order.
        inside: pairs of units, of which the first lies in the second, as a channel in its head: they move together,
            while units of the same one may change places by themselves.
        frozen: what was left without symmetries, and why.
        at: the operation that is looked at, and the module that it is in.
    """

    def __init__(self) -> None:
        self.units, self.scales, self.signs = Partition(), Factors(), Factors(signs=True)
        self.factors = {"scale": self.scales, "sign": self.signs}
        self.trail: list[tuple[Tensor, Tensor]] = []
        self.inside: list[tuple[Tensor, Tensor]] = []
        self.frozen: list[Frozen] = []
        self.at = ("", "")

    def report(self, op: str, place: str, why: str) -> None:
        """Note that something is left without symmetries."""
        entry = Frozen(op, place, why)
        if entry not in self.frozen:
            self.frozen.append(entry)

    def report_here(self, why: str) -> None:
        """Note that the operation that is looked at leaves something without symmetries."""
        self.report(*self.at, why)

    def note(self, value: Activation) -> None:
        """Put an activation into the trail: units that are there in different ways cannot change places."""
        self.trail.append((value.unit, value.code))

    def note_with(self, unit: Tensor, partner: Tensor) -> None:
        """Put units into the trail beside numbers that must be equal where units change places."""
        self.trail.append((unit, compact(partner.expand(unit.shape))))

    def note_inside(self, inner: Tensor, outer: Tensor) -> None:
        """Note pairwise that units lie in others; where one of a pair is of no unit nothing is noted."""
        pairs = distinct_pairs(inner, outer)
        pairs = pairs[(pairs != FIXED).all(1)]
        self.inside.append((pairs[:, 0], pairs[:, 1]))

    def new_labels(self, unit: Tensor) -> Labels:
        """Give units [size] new factors and signs."""
        return Labels(unit, self.scales.new(len(unit)), self.signs.new(len(unit)))

    def replace_zeros(self, labels: Labels) -> Labels:
        """Give places of an axis that are zero new factors and signs: those of what is added to them."""
        size = len(labels.unit)
        scale = torch.where(labels.scale == ZERO, self.scales.new(size), labels.scale)
        return Labels(labels.unit, scale, torch.where(labels.sign == ZERO, self.signs.new(size), labels.sign))

    def merge(self, one: Labels, other: Labels) -> Labels:
        """Unite labels pairwise and return them: the other's where one is `ZERO`, which goes with anything."""
        return Labels(
            self.units.merge(one.unit, other.unit),
            self.scales.merge(one.scale, other.scale),
            self.signs.merge(one.sign, other.sign),
        )

    def pairs(self, labels: Labels) -> list[tuple[Partition, Tensor]]:
        """Return the units, factors and signs of labels, each with the partition that it is of."""
        return [(self.units, labels.unit), (self.scales, labels.scale), (self.signs, labels.sign)]

    def has_factors(self, labels: Labels) -> bool:
        """Whether an entry carries a factor or a sign that is not frozen."""
        return self.scales.alive(labels.scale) or self.signs.alive(labels.sign)

    def freeze(self, labels: Labels) -> None:
        """Freeze all labels: nothing may move or be scaled, as at a network's output."""
        for partition, own in self.pairs(labels):
            partition.freeze(own)

    def freeze_factors(self, labels: SomeLabels) -> SomeLabels:
        """Freeze factors and signs, and return the units without them."""
        self.scales.freeze(labels.scale)
        self.signs.freeze(labels.sign)
        return labels.without_factors()

    def freeze_signs(self, labels: SomeLabels) -> SomeLabels:
        """Freeze signs, and return the labels without them; what is zero stays of any sign."""
        self.signs.freeze(labels.sign)
        return attrs.evolve(labels, sign=compact(torch.where(labels.sign == ZERO, ZERO, FIXED)))

    def lose(self, labels: Labels, why: str) -> None:
        """Freeze what might well have symmetries that the operation at hand cannot keep, and say so."""
        if any(partition.alive(own) for partition, own in self.pairs(labels)):
            self.report_here(why)
        self.freeze(labels)
