"""What leaves a target's meaning unchanged: its orbits, random elements of its symmetry group, and their action.

`orbits` lists the symmetries that follow from a `hyperframe.structure.Structure` and the task, `random_action` draws
from them, `apply_action` applies what was drawn.
"""

from collections.abc import Iterable
from functools import cached_property

import attrs
import torch
from torch import Tensor

from hyperframe.params import Param
from hyperframe.structure import FROZEN, Axis, Structure
from hyperframe.types import Weights
from hyperframe.weights import batch_size, pack, unpack

KINDS = ("logit_shift", "scaling", "permutation")
"""Kinds of orbits, in the order in which gauges that fix them are applied."""


@attrs.frozen(kw_only=True, eq=False)
class LayerScaling:
    """A layer's part in scaling, laid out like its weights; label `count` of the orbit means the factor 1.

    Attributes:
        layer: its name.
        reads: labels that divide, broadcastable to [filters, filter_size]; None where none do.
        writes: labels that multiply, likewise.
        anchors: filters that carry a label for the first time, in the order of `anchored`.
        anchored: those labels.
        carrier: the columns that carry the label, int64 (a mask would make a CUDA device wait).
    """

    layer: str
    reads: Tensor | None
    writes: Tensor | None
    anchors: Tensor
    anchored: Tensor
    carrier: Tensor

    def to(self, device: torch.device | str) -> "LayerScaling":
        """The same with its tensors on a device."""
        return LayerScaling(
            layer=self.layer,
            reads=None if self.reads is None else self.reads.to(device),
            writes=None if self.writes is None else self.writes.to(device),
            anchors=self.anchors.to(device),
            anchored=self.anchored.to(device),
            carrier=self.carrier.to(device),
        )


@attrs.frozen(kw_only=True, eq=False)
class ScalingOrbit:
    """Positive factors on units, which their writers multiply and their readers divide by.

    Attributes:
        count: the number of free factors; they are numbered in the order in which layers first write them.
        layers: each layer's part, in execution order.
    """

    count: int
    layers: tuple[LayerScaling, ...]


@attrs.frozen(kw_only=True)
class LogitShift:
    """One vector added to every row of the last layer, its bias included, which softmax does not see.

    Attributes:
        layer: the last layer.
        directions: fan_in + 1.
        bias: the column of the bias in a filter, or None.
    """

    layer: str
    directions: int
    bias: int | None


@attrs.frozen(kw_only=True, eq=False)
class Orbits:
    """What leaves a target's meaning unchanged: the structure, and the kinds of symmetry it has with its task."""

    structure: Structure
    scaling: ScalingOrbit
    logit_shift: LogitShift | None

    def to(self, device: torch.device | str) -> "Orbits":
        """The same with its tensors on a device: where gauges made from it will work."""
        layers = tuple(layer.to(device) for layer in self.scaling.layers)
        return attrs.evolve(self, scaling=attrs.evolve(self.scaling, layers=layers))

    @property
    def permutations(self) -> tuple[tuple[int, ...], ...]:
        """Sets of permutation labels that may be exchanged among each other."""
        return self.structure.classes

    @cached_property
    def counts(self) -> dict[str, int]:
        """How much of each kind there is: free factors, units that can be permuted, directions of the logit shift."""
        return {
            "scaling": self.scaling.count,
            "permutation": sum(len(members) for members in self.permutations),
            "logit_shift": self.logit_shift.directions if self.logit_shift else 0,
        }


def orbits(structure: Structure, shift_invariant: bool) -> Orbits:
    """List the symmetries of a target under a task.

    Args:
        structure: the target's labels.
        shift_invariant: whether the task ignores a common shift of all outputs, see `Task.shift_invariant`.
    """
    spec = structure.spec
    shift = None
    if shift_invariant and spec.logits is not None:
        last = spec.layer(spec.logits)
        place = last.columns.get("bias")
        column = None if place is None else place.start
        # Every row reads the same inputs, and nothing but kernel and bias is in it.
        plain = last.groups == 1 and last.fan_in > 0 and last.filter_size == last.fan_in + (place is not None)
        if last.norm == "none" and plain:
            shift = LogitShift(layer=last.name, directions=last.fan_in + (column is not None), bias=column)
    return Orbits(structure=structure, scaling=_scaling(structure), logit_shift=shift)


def _scaling(structure: Structure) -> ScalingOrbit:
    numbers: dict[int, int] = {}
    grids = []
    all_writes, all_reads = structure.scaling_grids(1), structure.scaling_grids(-1)
    for layer in structure.spec.layers:
        writes, reads = all_writes[layer.name], all_reads[layer.name]
        carrier = (writes != FROZEN).any(0).nonzero()[:, 0]
        rows = writes.amax(1).tolist()
        fresh = []
        for row, label in enumerate(rows):
            if label != FROZEN and label not in numbers:
                numbers[label] = len(numbers)
                fresh.append(row)
        grids.append((layer.name, reads, writes, fresh, [numbers[rows[row]] for row in fresh], carrier))
    lookup = torch.full((max(numbers, default=-1) + 2,), len(numbers))
    for label, number in numbers.items():
        lookup[label] = number
    layers = tuple(
        LayerScaling(
            layer=name,
            reads=_squeeze(lookup[reads], len(numbers)),
            writes=_squeeze(lookup[writes], len(numbers)),
            anchors=torch.tensor(fresh, dtype=torch.int64),
            anchored=torch.tensor(anchored, dtype=torch.int64),
            carrier=carrier,
        )
        for name, reads, writes, fresh, anchored, carrier in grids
    )
    return ScalingOrbit(count=len(numbers), layers=layers)


def _squeeze(grid: Tensor, neutral: int) -> Tensor | None:
    """Drop an axis along which all labels are equal, and the grid where it is neutral throughout."""
    if bool((grid == neutral).all()):
        return None
    for dim in (0, 1):
        if bool((grid == grid.narrow(dim, 0, 1)).all()):
            grid = grid.narrow(dim, 0, 1)
    return grid


@attrs.frozen(kw_only=True, eq=False)
class Action:
    """One element of the symmetry group for every network of a batch.

    Attributes:
        factors: positive factors of the scaling labels, shape [batch, highest scaling label + 1].
        sources: for each permutation label the label whose place it takes, int64 [batch, highest label + 1].
        shift: what is added to every row of the logits' layer, shape [batch, fan_in + 1]; None where nothing is.
    """

    factors: Tensor
    sources: Tensor
    shift: Tensor | None = None


def random_action(
    of: Orbits,
    batch: int,
    rng: torch.Generator,
    *,
    kinds: Iterable[str] = KINDS,
    exponents: int | None = 3,
    dtype: torch.dtype = torch.float64,
) -> Action:
    """Draw an action for each network of a batch.

    Args:
        of: the symmetries to draw from.
        batch: the number of networks.
        rng: a random generator on the CPU.
        kinds: which kinds of symmetry take part; the others are left at the identity.
        exponents: scaling factors are 2^k with |k| ≤ `exponents`, which a ReLU network's outputs survive bit for bit;
            None draws them between 1/8 and 8.
        dtype: of the factors and the shift.
    """
    wanted = set(kinds)
    axes = of.structure.axes
    size = 1 + max([0, *(label for axis in axes for label in (*axis.scaling, *axis.permutation))])
    factors = torch.ones(batch, size, dtype=dtype)
    if "scaling" in wanted and exponents is not None:
        factors = 2.0 ** torch.randint(-exponents, exponents + 1, (batch, size), generator=rng).to(dtype)
    elif "scaling" in wanted:
        factors = 8 ** (2 * torch.rand(batch, size, generator=rng, dtype=dtype) - 1)
    sources = torch.arange(size).repeat(batch, 1)
    for members in of.permutations if "permutation" in wanted else ():
        places = torch.tensor(members)
        for row in sources:
            row[places] = places[torch.randperm(len(places), generator=rng)]
    shift = None
    if "logit_shift" in wanted and of.logit_shift is not None:
        shift = torch.randn(batch, of.logit_shift.directions, generator=rng, dtype=dtype)
    return Action(factors=factors, sources=sources, shift=shift)


def apply_action(of: Orbits, action: Action, weights: Weights) -> Weights:
    """Apply an action to weights: multiply by factors, gather by permutation labels, add the logit shift."""
    spec = of.structure.spec
    parameters = unpack(spec, weights)
    batch = batch_size(weights)
    params = {param.parameter: param for layer in spec.layers for param in layer.params}
    for axis in of.structure.axes:
        if axis.exponent:
            values = parameters[axis.parameter]
            parameters[axis.parameter] = values * _factors(axis, params[axis.parameter], action.factors).to(values)
    # What writes and reads on one axis, as a depthwise kernel's filters do, moves once.
    moves = {(axis.parameter, axis.dim, axis.permutation): axis for axis in of.structure.axes if axis.groups == 1}
    for axis in moves.values():
        parameters[axis.parameter] = _gather(axis, parameters[axis.parameter], action.sources)
    result = pack(spec, parameters)
    if action.shift is not None and of.logit_shift is not None:
        last = result[of.logit_shift.layer]
        result[of.logit_shift.layer] = last + action.shift.to(last).view(batch, 1, -1)
    return result


def _factors(axis: Axis, param: Param, factors: Tensor) -> Tensor:
    grid = axis.spread(param)
    return torch.where(grid == FROZEN, 1.0, factors[:, grid.clamp(min=0)] ** axis.exponent)


def _gather(axis: Axis, values: Tensor, sources: Tensor) -> Tensor:
    """The k-th entry of a label takes the value of the k-th entry of the label it comes from."""
    places: dict[int, list[int]] = {}
    for place, label in enumerate(axis.permutation):
        if label != FROZEN:
            places.setdefault(label, []).append(place)
    index = torch.arange(len(axis.permutation)).repeat(len(values), 1)
    for row, source in zip(index, sources.tolist(), strict=True):
        for label, targets in places.items():
            row[targets] = torch.tensor(places[source[label]])
    view = [len(values)] + [1] * (values.dim() - 1)
    view[axis.dim + 1] = -1
    return torch.take_along_dim(values, index.view(view).to(values.device), axis.dim + 1)
