"""Labels on every entry of an activation: which unit it belongs to, which factor and which sign it carries.

A traced network's symmetries are found with them: the rules (`hyperframe.targets.tracing.rules.registry`) carry labels
from operation to operation.
"""

from collections.abc import Callable, Sequence
from typing import Self

import attrs
import torch
from torch import Tensor

FIXED = -1
"""The unit of entries that belong to none, and the factor or sign of entries that have none but 1."""

ZERO = -2
"""The factor and the sign of entries that are zero whatever happens: any will do."""


class Partition:
    """Labels of one kind, united where they must be equal and frozen where nothing may move.

    Example:
        >>> labels = Partition()
        >>> one, other = labels.new(2), labels.new(2)
        >>> labels.unite(one, other)
        >>> labels.roots(other).tolist()
        [0, 1]
        >>> labels.freeze(one[:1])
        >>> labels.roots(other).tolist()
        [-1, 1]
    """

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._frozen: set[int] = set()
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int) -> Tensor:
        """Make new labels, int64 [count]."""
        first = len(self._parent)
        self._starts.append(first)
        self._parent += range(first, first + count)
        return torch.arange(first, first + count)

    def root(self, label: int) -> int:
        """Return the lowest label that this one is united with."""
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    def unite(self, one: Tensor, other: Tensor) -> None:
        """Unite labels pairwise; where one of a pair is `FIXED` the other is frozen, `ZERO` goes with anything."""
        pairs = distinct_pairs(one, other)
        pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs != ZERO).all(1)]
        for a, b in pairs.tolist():
            if FIXED in (a, b):
                self._frozen.add(self.root(max(a, b)))
                continue
            low, high = sorted((self.root(a), self.root(b)))
            self._parent[high] = low
            if high in self._frozen:
                self._frozen.add(low)

    def merge(self, one: Tensor, other: Tensor) -> Tensor:
        """Unite labels pairwise, and return those of both: the other's where one is `ZERO`, which goes with anything.

        Example:
            >>> labels = Partition()
            >>> labels.merge(torch.tensor([ZERO, FIXED]), labels.new(2)).tolist()
            [0, -1]
            >>> labels.roots(torch.tensor([0, 1])).tolist()
            [0, -1]
        """
        self.unite(one, other)
        return torch.where(one == ZERO, other, one)

    def freeze(self, labels: Tensor) -> None:
        """Freeze labels, and all they are united with."""
        self._frozen.update(self.root(label) for label in torch.unique(squeeze(labels)).tolist() if label >= 0)

    def alive(self, labels: Tensor) -> bool:
        """Whether any of these labels is not frozen."""
        return bool((self.roots(torch.unique(squeeze(labels))) >= 0).any())

    def clash(self, rows: Tensor) -> bool:
        """Whether a row holds two labels that were made together and are not united.

        Uniting a row would take something away then; labels of different layers may well be tied.

        Example:
            >>> labels = Partition()
            >>> one, other = labels.new(2), labels.new(2)
            >>> labels.clash(torch.stack([one, other], 1)), labels.clash(torch.stack([one, other]))
            (False, True)
        """
        blocks = torch.where(
            rows < 0, FIXED, torch.bucketize(rows.contiguous(), torch.tensor(self._starts), right=True)
        )
        keys = (blocks * (len(self) + 1) + self.roots(rows)).sort(1)
        blocks = blocks.gather(1, keys.indices)
        return bool(((blocks[:, 1:] == blocks[:, :-1]) & (keys.values[:, 1:] != keys.values[:, :-1])).any())

    def roots(self, labels: Tensor) -> Tensor:
        """Return each label's representative; `FIXED` for frozen ones and for entries without a label."""
        return self.lookup()[labels.clamp(min=FIXED)]

    def lookup(self) -> Tensor:
        """Return for every label its representative, or `FIXED`; the last entry, one more, is for `FIXED` itself."""
        frozen = {self.root(label) for label in self._frozen}
        united = self.united()
        united[torch.isin(united, torch.tensor(sorted(frozen), dtype=torch.int64))] = FIXED
        return united

    def united(self) -> Tensor:
        """Return for every label its representative, also of frozen ones; the last entry is for `FIXED` itself."""
        parent = torch.tensor(self._parent, dtype=torch.int64)
        while not torch.equal(parent, higher := parent[parent]):
            parent = higher
        return torch.cat([parent, torch.tensor([FIXED])])


@attrs.frozen(eq=False)
class Labels:
    """A unit, a factor and a sign for each of some entries, or places of an axis: int64 tensors of one shape.

    Attributes:
        unit: entries of one unit move together when units are permuted.
        scale: which positive factor an entry carries.
        sign: which sign it carries.
    """

    unit: Tensor
    scale: Tensor
    sign: Tensor

    @property
    def shape(self) -> torch.Size:
        """The shape of each of the tensors."""
        return self.unit.shape

    @property
    def labelled(self) -> bool:
        """Whether an entry belongs to a unit, or carries a factor or a sign."""
        return any(bool((squeeze(labels) >= 0).any()) for labels in (self.unit, self.scale, self.sign))

    @property
    def has_units(self) -> bool:
        """Whether an entry belongs to a unit."""
        return bool((self.unit != FIXED).any())

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function to each of the tensors, such as one that lays entries out differently."""
        return attrs.evolve(self, **{field.name: function(getattr(self, field.name)) for field in attrs.fields(Labels)})

    def without_factors(self) -> Self:
        """The same units, without factors and signs."""
        none = uniform(self.shape)
        return attrs.evolve(self, scale=none, sign=none)


@attrs.frozen(eq=False)
class Activation(Labels):
    """The labels of one activation, in its own shape; a tensor has stride 0 along an axis along which it is constant.

    Attributes:
        code: where in its unit an entry stands; for entries of no unit, equal codes mean equal values.
    """

    code: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Activation":
        """Apply a function to each of the four tensors."""
        return Activation(function(self.unit), function(self.scale), function(self.sign), function(self.code))


def uniform(shape: Sequence[int], label: int = FIXED) -> Tensor:
    """The same label for all entries of a shape, or none."""
    return torch.full((1,) * len(shape), label).expand(tuple(shape))


def spread(labels: Tensor, shape: Sequence[int], dim: int) -> Tensor:
    """Lay out one label for each place of an axis in the shape of an activation."""
    view = [1] * len(shape)
    view[dim] = -1
    return labels.reshape(view).expand(tuple(shape))


def squeeze(labels: Tensor) -> Tensor:
    """Keep one entry along each axis of stride 0, along which all labels are equal."""
    for dim, stride in enumerate(labels.stride()):
        if stride == 0 and labels.shape[dim] > 1:
            labels = labels.narrow(dim, 0, 1)
    return labels


def distinct_pairs(one: Tensor, other: Tensor) -> Tensor:
    """List the pairs of labels that stand at one place: [pairs, 2]."""
    one, other = torch.broadcast_tensors(one, other)
    one, other = _core(one, other), _core(other, one)
    if not one.numel():
        return one.new_zeros(0, 2)
    lowest = min(int(one.min()), int(other.min()))
    width = int(other.max()) - lowest + 1
    keys = torch.unique((one - lowest) * width + (other - lowest))  # far quicker than rows made distinct
    return torch.stack([keys // width, keys % width], -1) + lowest


def compact(labels: Tensor) -> Tensor:
    """Give every axis along which all labels are equal the stride 0."""
    shape = labels.shape
    labels = squeeze(labels)
    for dim, size in enumerate(labels.shape):
        if size > 1 and bool((labels == labels.narrow(dim, 0, 1)).all()):
            labels = labels.narrow(dim, 0, 1)
    return labels.expand(shape)


def varies(labels: Tensor, dim: int) -> bool:
    """Whether compacted labels differ along an axis."""
    return labels.shape[dim] > 1 and labels.stride(dim) != 0


def _core(one: Tensor, other: Tensor) -> Tensor:
    """Keep one entry of a label tensor along each axis along which another is constant as well."""
    for dim in range(one.dim()):
        if one.stride(dim) == 0 and other.stride(dim) == 0:
            one = one.narrow(dim, 0, 1)
    return one
