"""Trivial symmetries as labels on the axes of parameters.

For every axis of every parameter there are three arrays of labels and an exponent (`Axis`). Entries with one
permutation label move together; entries with one scaling label share one positive factor, to the power of the exponent;
entries with one sign label change their sign together. These are three partitions: a depthwise convolution ties what
moves, not what scales. An action is then the same few lines for every layer: gather by labels, multiply by factors and
signs (`hyperframe.targets.symmetry.orbits`). A normalisation takes factors away, which nothing then needs to read.
"""

from collections.abc import Iterable
from functools import cached_property
from typing import Literal

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Param, Role
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.targets.weights import rearrange_claim

FROZEN = -1
"""The label of entries that take no part."""


Blocks = tuple[tuple[tuple[int, ...], ...], ...]
"""Sets of blocks of permutation labels, see `Structure`."""


@attrs.frozen(kw_only=True)
class Axis:
    """Labels on one axis of one parameter.

    Attributes:
        parameter: its name in the module.
        dim: which axis.
        permutation: a label for each entry; entries of one label move together. `FROZEN` moves nowhere.
        scaling: a label for each entry; entries of one label share a positive factor. `FROZEN` has none.
        sign: a label for each entry; entries of one label change their sign together. `FROZEN` keeps it.
        exponent: +1 where the axis writes (times the factor), −1 where it reads (divided by it), 0 where neither.
        groups: in a grouped kernel the labels on the shorter of the two axes "o" and "i" depend on the group; the
            arrays then hold one block of labels for each group.
    """

    parameter: str
    dim: int
    permutation: tuple[int, ...]
    scaling: tuple[int, ...]
    sign: tuple[int, ...]
    exponent: int
    groups: int = 1

    def spread(self, param: Param, labels: tuple[int, ...]) -> Tensor:
        """Labels of this axis, such as its `scaling`, int64, in a shape that broadcasts to the parameter's."""
        return self._spread(param.known_shape, param.letters, torch.tensor(labels))

    def _spread(self, shape: tuple[int, ...], letters: list[str], labels: Tensor) -> Tensor:
        view = [1] * len(shape)
        if self.groups > 1:
            partner = letters.index("i" if letters[self.dim] == "o" else "o")
            labels = labels.view(self.groups, -1).repeat_interleave(shape[partner] // self.groups, 0)
            labels = labels if partner < self.dim else labels.T
            view[partner] = shape[partner]
        view[self.dim] = -1
        return labels.reshape(view)


@attrs.frozen(kw_only=True, slots=False)
class Structure:
    """The labels of a target, and which of them may be exchanged.

    Attributes:
        spec: the bound spec whose parameters the labels sit on.
        axes: the labelled axes; an axis can appear twice, as when a depthwise kernel's filters write and read.
        classes: sets of permutation labels that may be exchanged among each other, each of two labels or more.
        blocks: sets of blocks that may be exchanged as wholes, such as heads of attention: each is some labels, which
            take the places of those at their positions in another block. Labels of one class within a block are at the
            same positions, in the same order.
        absorbed: scaling labels whose factors a normalisation takes away, so that nothing needs to read them.
        shifts: layers whose biases a normalisation over the batch takes away.
        linear: sets of scaling labels whose units any invertible matrix may mix, as far as tracing has found any (see
            `symmetry.mixing`). They are counted; beside factors, signs and permutations nothing acts on them.
    """

    spec: TargetSpec
    axes: tuple[Axis, ...]
    classes: tuple[tuple[int, ...], ...]
    blocks: Blocks = ()
    absorbed: frozenset[int] = frozenset()
    shifts: tuple[str, ...] = ()
    linear: tuple[tuple[int, ...], ...] = ()

    def grid(
        self, layer: LayerSpec, roles: Iterable[Role], kind: Literal["permutation", "scaling", "sign"], exponent: int
    ) -> Tensor:
        """The labels of one exponent on some of a layer's columns, where no entry has two; see `grids`."""
        return self.grids(layer, roles, kind, exponent)[0]

    def grids(
        self, layer: LayerSpec, roles: Iterable[Role], kind: Literal["permutation", "scaling", "sign"], exponent: int
    ) -> list[Tensor]:
        """The labels of one exponent on some of a layer's columns, those of `roles` in the order of its parameters.

        Returns:
            One grid, and as many more as entries have further labels (what reads a product of two factors has two).
            Each is int64, broadcastable to [filters, columns]: an axis along which all labels are equal may have
            size 1.
        """
        parts, entries = [], []
        for param in layer.params:
            if param.role in roles:
                axes = self._axes_of.get((param.parameter, exponent), [])
                parts.append(_stack([_as_rows(axis, layer, param, getattr(axis, kind)) for axis in axes]))
                entries.append(param.entries(layer.groups))
        found = []
        for place in range(max(len(part) for part in parts)):
            own = [part[place] if place < len(part) else _NONE for part in parts]
            if not all(part.shape[1] == 1 and torch.equal(part, own[0]) for part in own):
                rows = max(part.shape[0] for part in own)
                own = [torch.cat([part.expand(rows, size) for part, size in zip(own, entries, strict=True)], 1)]
            found.append(own[0])
        return found

    @cached_property
    def _axes_of(self) -> dict[tuple[str, int], list[Axis]]:
        found: dict[tuple[str, int], list[Axis]] = {}
        for axis in self.axes:
            found.setdefault((axis.parameter, axis.exponent), []).append(axis)
        return found

    def highest(self, kind: Literal["permutation", "scaling", "sign"]) -> int:
        """Return the highest label of a kind; 0 where there is none."""
        return max([0, *(max(getattr(axis, kind), default=0) for axis in self.axes)])

    @cached_property
    def kernel_labels(self) -> frozenset[int]:
        """Scaling labels that kernels write."""
        kernels = {param.parameter for layer in self.spec.layers for param in layer.params if param.role == "kernel"}
        axes = [axis for axis in self.axes if axis.exponent == 1 and axis.parameter in kernels]
        return frozenset(label for axis in axes for label in axis.scaling) - {FROZEN}

    @cached_property
    def norm_signs(self) -> frozenset[int]:
        """Sign labels that scales of normalisations, and nothing else, read."""
        scales = {
            param.parameter
            for layer in self.spec.layers
            for param in layer.params
            if param.role == "scale" and layer.norm != "none"
        }
        readers: dict[int, set[bool]] = {}
        for axis in self.axes:
            if axis.exponent == -1:
                for label in set(axis.sign) - {FROZEN}:
                    readers.setdefault(label, set()).add(axis.parameter in scales)
        return frozenset(label for label, found in readers.items() if found == {True})


_NONE = torch.full((1, 1), FROZEN)


def _stack(grids: list[Tensor]) -> list[Tensor]:
    """Merge grids into as few as hold the labels of all, none of which is lost where two are on one entry."""
    found = [_NONE]
    for grid in grids:
        if bool((grid == FROZEN).all()):
            continue
        free = (at for at, other in enumerate(found) if not bool(((other != FROZEN) & (grid != FROZEN)).any()))
        place = next(free, len(found))
        if place == len(found):
            found.append(_NONE)
        found[place] = torch.where(found[place] == FROZEN, grid, found[place])
    return found


def _as_rows(axis: Axis, layer: LayerSpec, param: Param, labels: tuple[int, ...]) -> Tensor:
    """Lay an axis's labels out as a layer's filters see them: broadcastable to [filters, entries]."""
    at = param.letters.index("o")
    values = torch.tensor(labels)
    if axis.groups > 1:  # they depend on the group, hence on the filter as well as on what it reads
        grid = axis.spread(param, labels).expand(param.known_shape)
        return rearrange_claim(layer, param, grid)
    if axis.dim == at:
        if param.rows is not None:
            values = values[param.rows[0] : param.rows[1]]
        return values.view(-1, 1)
    rest = [size for dim, size in enumerate(param.known_shape) if dim != at]
    view = [1] * len(rest)
    view[axis.dim - (axis.dim > at)] = -1
    row = values.view(view).expand(rest).reshape(1, -1)
    if param.inputs_first and layer.groups > 1:  # a group's filters read the group's inputs
        blocks = row.view(layer.groups, -1)
        return blocks.repeat_interleave(layer.filters // layer.groups, 0)
    return row
