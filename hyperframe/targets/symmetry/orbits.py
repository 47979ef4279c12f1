"""Changes that leave a target's meaning as it is: its orbits, random elements of its symmetry group, their action.

`orbits` lists the symmetries that follow from a `hyperframe.targets.symmetry.structure.Structure` and the task,
`random_action` draws from them, `apply_action` applies what was drawn.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Param
from hyperframe.targets.symmetry.stages import LabelOrbit, label_orbit
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure
from hyperframe.targets.weights import batch_size, pack, unpack
from hyperframe.types import Weights

KINDS = ("logit_shift", "scaling", "sign", "normalisation", "norm_sign", "permutation")
"""Kinds of orbits, in the order in which gauges that fix them are applied.

`scaling`: positive factors that one layer writes and others read. `sign`: likewise, where every operation between is
odd. `normalisation`: what a normalisation takes away of a kernel, its factor and, over the batch, its bias.
`norm_sign`: the sign of that kernel, which the normalisation's scale makes up for. Factors come before the norms of
kernels, which read with them; what permutes comes last, since it sorts by the values that are then there.
"""

CONTINUOUS = ("logit_shift", "scaling", "normalisation")
"""The kinds that take directions away from the weights; the others are discrete."""


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


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Orbits:
    """A target's symmetries under its task: the structure, and the labels of each kind.

    Attributes:
        structure: the labels.
        scaling: positive factors that are read again.
        sign: signs that are read again.
        normalisation: positive factors that a normalisation takes away.
        norm_sign: signs that only scales of normalisations read.
        logit_shift: the common shift of the outputs, where the task does not see it.
    """

    structure: Structure
    scaling: LabelOrbit
    sign: LabelOrbit
    normalisation: LabelOrbit
    norm_sign: LabelOrbit
    logit_shift: LogitShift | None

    def to(self, device: torch.device | str) -> "Orbits":
        """The same with its tensors on a device: where gauges made from it will work."""
        names = ("scaling", "sign", "normalisation", "norm_sign")
        return attrs.evolve(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def permutations(self) -> tuple[tuple[int, ...], ...]:
        """Sets of permutation labels that may be exchanged among each other."""
        return self.structure.classes

    @cached_property
    def exchangeable(self) -> frozenset[int]:
        """All permutation labels that another one can take the place of, alone or with the block that it is in."""
        in_blocks = (label for blocks in self.structure.blocks for block in blocks for label in block)
        return frozenset(in_blocks).union(*self.permutations)

    @property
    def shifts(self) -> dict[str, int]:
        """For each layer whose bias a normalisation takes away the bias's column."""
        spec = self.structure.spec
        return {name: spec.layer(name).columns["bias"].start for name in self.structure.shifts}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How much of each kind there is: directions of a continuous one, signs, units that can be exchanged.

        A unit that no other is like does not count.
        """
        biases = sum(self.structure.spec.layer(name).filters for name in self.structure.shifts)
        return {
            "logit_shift": self.logit_shift.directions if self.logit_shift else 0,
            "scaling": self.scaling.count,
            "sign": self.sign.count,
            "normalisation": self.normalisation.count + biases,
            "norm_sign": self.norm_sign.count,
            "permutation": len(self.exchangeable),
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
    # Where a scale and shift write what is taken away, they have a norm of their own and are scaled as others are.
    absorbed, norm_signs = structure.absorbed & structure.kernel_labels, structure.norm_signs
    return Orbits(
        structure=structure,
        scaling=label_orbit(structure, "scaling", lambda label: label not in absorbed, ("kernel", "bias")),
        normalisation=label_orbit(structure, "scaling", lambda label: label in absorbed, ("kernel",)),
        sign=label_orbit(structure, "sign", lambda label: label not in norm_signs, ("kernel", "bias")),
        norm_sign=label_orbit(structure, "sign", lambda label: label in norm_signs, ("kernel",)),
        logit_shift=shift,
    )


@attrs.frozen(kw_only=True, eq=False)
class Action:
    """One element of the symmetry group for every network of a batch.

    Attributes:
        factors: positive factors of the scaling labels, shape [batch, highest scaling label + 1].
        signs: 1 or −1 for the sign labels, shape [batch, highest sign label + 1].
        sources: for each permutation label the label whose place it takes, int64 [batch, highest label + 1].
        offsets: what is added to biases that a normalisation takes away, by layer, shape [batch, filters].
        shift: what is added to every row of the logits' layer, shape [batch, fan_in + 1]; None where nothing is.
    """

    factors: Tensor
    signs: Tensor
    sources: Tensor
    offsets: dict[str, Tensor] = attrs.field(factory=dict)
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
    """Draw an action for each network of a batch, in which nothing that can be moved stays as it is.

    A wrong symmetry must not go unnoticed because the identity was drawn, or because two mistakes make up for each
    other. So no factor is 1; every second network has the signs that the one before it has not; and the units of a
    class, and blocks of units, all change places with each other in one network, two of them in the next.

    Args:
        of: the symmetries to draw from.
        batch: the number of networks.
        rng: a random generator on the CPU.
        kinds: which kinds of symmetry take part; the others are left at the identity.
        exponents: scaling factors are 2^k with 1 ≤ |k| ≤ `exponents`, which a ReLU network's outputs survive bit for
            bit; 0 makes them 1, and None draws them between 1/8 and 8.
        dtype: of the factors and the shifts.
    """
    wanted, highest = set(kinds), of.structure.highest
    scaled = _taking_part(1 + highest("scaling"), wanted, scaling=of.scaling, normalisation=of.normalisation)
    shape = (batch, len(scaled))
    if exponents is not None:
        powers = torch.randint(min(1, exponents), exponents + 1, shape, generator=rng).to(dtype)
        factors = 2.0 ** (powers * _signs(shape, rng, dtype))
    else:
        factors = 8 ** (2 * torch.rand(shape, generator=rng, dtype=dtype) - 1)
    signed = _taking_part(1 + highest("sign"), wanted, sign=of.sign, norm_sign=of.norm_sign)
    signs = torch.where(signed, _signs(((batch + 1) // 2, len(signed)), rng, dtype), 1.0)
    signs[(signs == 1).all(1)] = torch.where(signed, -1.0, 1.0).to(dtype)
    signs = torch.stack([signs, torch.where(signed, -signs, 1.0)], 1).flatten(0, 1)[:batch]
    sources = _random_sources(of.structure, batch, rng, moving="permutation" in wanted)
    offsets = {}
    for layer in of.shifts if "normalisation" in wanted else ():
        offsets[layer] = torch.randn(batch, of.structure.spec.layer(layer).filters, generator=rng, dtype=dtype)
    shift = None
    if "logit_shift" in wanted and of.logit_shift is not None:
        shift = torch.randn(batch, of.logit_shift.directions, generator=rng, dtype=dtype)
    return Action(factors=torch.where(scaled, factors, 1.0), signs=signs, sources=sources, offsets=offsets, shift=shift)


def _random_sources(structure: Structure, batch: int, rng: torch.Generator, *, moving: bool) -> Tensor:
    """Exchange blocks with all that is in them, and units of each class: all with each other, or two of them."""
    sources = torch.arange(1 + structure.highest("permutation")).repeat(batch, 1)
    single = ([(label,) for label in members] for members in structure.classes)
    for blocks in (*structure.blocks, *single) if moving else ():
        places = torch.tensor(blocks)
        for number, row in enumerate(sources):
            order = torch.randperm(len(places), generator=rng)
            moved = places[order[: len(order) if number % 2 == 0 else 2]]
            row[moved] = row[moved.roll(1, 0)]
    return sources


def _taking_part(size: int, wanted: set[str], **of_kinds: LabelOrbit) -> Tensor:
    """Return which labels belong to the kinds that are wanted, bool [size]."""
    chosen = torch.zeros(size, dtype=torch.bool)
    for kind, orbit in of_kinds.items():
        if kind in wanted:
            chosen[orbit.labels] = True
    return chosen


def _signs(shape: tuple[int, int], rng: torch.Generator, dtype: torch.dtype) -> Tensor:
    return 1 - 2 * torch.randint(2, shape, generator=rng).to(dtype)


def apply_action(of: Orbits, action: Action, weights: Weights) -> Weights:
    """Apply an action to weights: multiply by factors and signs, gather by permutation labels, add the shifts."""
    spec = of.structure.spec
    result = permute(of.structure, action.sources, _multiply(of.structure, action, weights), spec.layer_names)
    for layer, offset in action.offsets.items():
        theta = result[layer].clone()
        theta[:, :, of.shifts[layer]] += offset.to(theta)
        result[layer] = theta
    if action.shift is not None and of.logit_shift is not None:
        last = result[of.logit_shift.layer]
        result[of.logit_shift.layer] = last + action.shift.to(last).view(batch_size(weights), 1, -1)
    return result


def _multiply(structure: Structure, action: Action, weights: Weights) -> Weights:
    """Multiply weights by the factors and signs of an action."""
    spec = structure.spec
    parameters = unpack(spec, weights)
    params = {param.parameter: param for layer in spec.layers for param in layer.params}
    for axis in structure.axes:
        if axis.exponent:
            values, param = parameters[axis.parameter], params[axis.parameter]
            factors = _factors(axis, param, axis.scaling, action.factors) ** axis.exponent
            signs = _factors(axis, param, axis.sign, action.signs)
            parameters[axis.parameter] = values * (factors * signs).to(values)
    return pack(spec, parameters)


def permute(structure: Structure, sources: Tensor, weights: Weights, layers: Iterable[str]) -> Weights:
    """Put the units of some layers of weights in other places.

    Args:
        structure: the labels.
        sources: for each network and label the label whose place it takes, see `Action`.
        weights: for each layer [batch, filters, filter_size].
        layers: those that are wanted.
    """
    wanted = set(layers)
    claims = [(layer.name, param.parameter) for layer in structure.spec.layers for param in layer.params]
    chosen = {parameter for layer, parameter in claims if layer in wanted}
    needed = {layer for layer, parameter in claims if parameter in chosen}
    spec = structure.spec.part(needed)
    parameters = unpack(spec, {layer: weights[layer] for layer in needed})
    moved = permute_parameters(structure, sources, {name: parameters[name] for name in chosen})
    return pack(spec, parameters | moved)


def permute_parameters(structure: Structure, sources: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the units of some of the module's parameters, each [batch, *shape], in other places; see `permute`."""
    params = {param.parameter: param for layer in structure.spec.layers for param in layer.params}
    moved = dict(parameters)
    # What writes and reads on one axis, as a depthwise kernel's filters do, moves once.
    axes = {(axis.parameter, axis.dim, axis.permutation): axis for axis in structure.axes if axis.parameter in moved}
    for axis in axes.values():
        moved[axis.parameter] = _gather(axis, params[axis.parameter], moved[axis.parameter], sources)
    return moved


def _factors(axis: Axis, param: Param, labels: tuple[int, ...], values: Tensor) -> Tensor:
    grid = axis.spread(param, labels)
    return torch.where(grid == FROZEN, 1.0, values[:, grid.clamp(min=0)])


def _gather(axis: Axis, param: Param, values: Tensor, sources: Tensor) -> Tensor:
    """Give the k-th entry of a label the value of the k-th entry of the label it comes from, in each block."""
    blocks = torch.tensor(axis.permutation).view(axis.groups, -1)
    index = torch.stack([_sources_in(labels, sources) for labels in blocks], 1)
    if bool((index == torch.arange(index.shape[2])).all()):
        return values
    view = [len(values)] + [1] * (values.dim() - 1)
    view[axis.dim + 1] = index.shape[2]
    if axis.groups > 1:
        partner = param.letters.index("i" if param.letters[axis.dim] == "o" else "o")
        view[partner + 1] = values.shape[partner + 1]
        index = index.repeat_interleave(view[partner + 1] // axis.groups, 1)
        if partner > axis.dim:
            index = index.transpose(1, 2)
    return torch.take_along_dim(values, index.reshape(view).to(values.device), axis.dim + 1)


def _sources_in(labels: Tensor, sources: Tensor) -> Tensor:
    """Return for each network and each entry of one block the entry whose value it takes."""
    order = torch.argsort(labels, stable=True)
    ordered = labels[order]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    inside = labels != FROZEN
    index = torch.arange(len(labels)).repeat(len(sources), 1)
    wanted = sources[:, labels[inside]].contiguous()
    taken = (torch.searchsorted(ordered, wanted) + rank[inside]).clamp(max=len(order) - 1)
    # What goes to another block moves with the kernel's other axis.
    index[:, inside] = torch.where(ordered[taken] == wanted, order[taken], index[:, inside])
    return index
