"""Units that may change places, brought nearer to those of a reference network class by class, by all their weights."""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from hyperframe.targets.params import Param
from hyperframe.targets.symmetry.orbits import Orbits, permute_parameters
from hyperframe.targets.symmetry.sorting import ROUNDING, Block, groups_of
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure
from hyperframe.targets.weights import batch_size, unpack
from hyperframe.types import Weights

PASSES = 100
"""The most passes over all classes. Each but the last brings the weights nearer to the reference, so that the descent
ends by itself, though nothing says how soon: random networks take 2 passes (`mlp`) to 5 (`resnet32`). The limit, far
above these, bounds the time in any case; where it is met, what was reached is the result."""


class Descent:
    """Weight matching: assigns each class of units in turn to that of a reference by all weights that meet in it.

    The agreement of two networks is the inner product of all their weights, ⟨θ, ρ⟩: where it grows, the distance
    ‖θ − ρ‖² shrinks. For one class with all others held where they are it is a sum over its units,

        Σ_u ⟨θ_{π(u)}, ρ_u⟩,

    of what writes and what reads each of them, and an assignment makes it greatest. Blocks, such as heads of attention,
    are assigned together with the units in them. Classes are assigned in one order, again and again, until none
    changes: the agreement never shrinks, and ends where no class alone can be placed better. Where weights both write
    and read units of one class, as those of a recurrence do, the sum holds one of the two where it is, and what it
    finds is kept where the agreement grows.

    Args:
        orbits: the target's symmetries.
        reference: for each layer [1, filters, filter_size]; detached.

    References: S. Ainsworth, J. Hayase, S. Srinivasa (2022), Git Re-Basin: Merging Models modulo Permutation
    Symmetries, arXiv:2209.04836, algorithm 1, which draws the order of the classes at random.
    """

    def __init__(self, orbits: Orbits, reference: Weights) -> None:
        self._structure = orbits.structure
        self._reference = _parameters(orbits.structure, reference)
        self._steps = _steps(orbits)

    def sources(self, weights: Weights) -> Tensor:
        """Find for each network and label the label whose place it takes, as in an `Action` of `symmetry.orbits`.

        Args:
            weights: for each layer [batch, filters, filter_size], from where the descent begins.

        Returns:
            int64 [batch, highest label + 1], on the CPU.
        """
        sources = torch.arange(self._structure.highest("permutation") + 1).repeat(batch_size(weights), 1)
        current = _parameters(self._structure, weights)
        least = ROUNDING * torch.finfo(torch.float64).eps * _norms(self._reference) * _norms(current)
        left = torch.arange(len(sources))  # networks that changed in the last pass
        for _ in range(PASSES):
            changed = torch.zeros(len(left), dtype=torch.bool)
            for step in self._steps:
                found, rows, moved = self._improve(step, current, least[left])
                if len(rows):
                    current |= {name: current[name].index_copy(0, rows, values) for name, values in moved.items()}
                    sources[left[rows]] = sources[left[rows]].gather(1, found)
                    changed[rows] = True
            if not changed.any():
                break
            left, current = left[changed], {name: values[changed] for name, values in current.items()}
        return sources

    def _improve(
        self, step: "_Step", current: Mapping[str, Tensor], least: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Assign the units of a step in those networks whose agreement grows by more than `least` [networks].

        Returns:
            For each of them what takes the place of each label, their numbers, and the parameters that change.
        """
        sources = torch.arange(self._structure.highest("permutation") + 1).repeat(len(least), 1)
        rows = (step.assign(self._reference, current, sources) > least).nonzero()[:, 0]
        before = {name: current[name][rows] for name in step.parameters}
        after = permute_parameters(self._structure, sources[rows], before)
        gains = torch.zeros(len(rows), dtype=torch.float64)
        for name, values in after.items():
            gains += ((values.double() - before[name]) * self._reference[name]).flatten(1).sum(1)
        better = gains > least[rows]
        rows = rows[better]
        return sources[rows], rows, {name: values[better] for name, values in after.items()}


@attrs.frozen(eq=False)
class _Place:
    """Where some labels stand on one axis of a parameter.

    Attributes:
        axis: the axis.
        param: the parameter.
        entries: for each label those of the axis that have it, [labels, entries].
    """

    axis: Axis
    param: Param
    entries: Tensor

    def of(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return what parameters have of each label: float64 [batch, labels, weights]."""
        values, dim = parameters[self.axis.parameter], self.axis.dim + 1
        if self.axis.groups > 1:  # the axis is another one in each group
            letters = self.param.letters
            partner = 1 + letters.index("i" if letters[dim - 1] == "o" else "o")
            values = values.unflatten(partner, (self.axis.groups, -1))
            dim += dim > partner
            values, dim = values.movedim((partner, dim), (1, 2)).flatten(1, 2), 1
        chosen = values.movedim(dim, 1)[:, self.entries]
        return chosen.reshape(len(values), len(self.entries), -1).double()


@attrs.frozen(eq=False)
class _Group:
    """Units that may change places within each of some blocks, often one.

    Attributes:
        labels: int64 [blocks, units].
        places: where they stand in parameters.
    """

    labels: Tensor
    places: list[_Place]

    def match(self, reference: Mapping[str, Tensor], current: Mapping[str, Tensor], count: int) -> "_Matched":
        """Assign the units of each block to those of each block of the reference; `count` networks."""
        blocks, units = self.labels.shape
        agreement = torch.zeros(count, blocks * units, blocks * units, dtype=torch.float64)
        for place in self.places:
            agreement += place.of(reference)[0] @ place.of(current).mT
        now = agreement.diagonal(dim1=1, dim2=2).sum(1)
        each = agreement.view(count, blocks, units, blocks, units).transpose(2, 3)
        if units == 1:
            return _Matched(now, each[..., 0, 0], torch.zeros(count, blocks, blocks, 1, dtype=torch.int64))
        order = torch.stack([assign(one) for one in each.flatten(0, 2)]).view(count, blocks, blocks, units)
        return _Matched(now, each.take_along_dim(order[..., None], 4).sum((3, 4)), order)


@attrs.frozen(eq=False)
class _Matched:
    """How much the units of blocks agree with those of the reference's blocks.

    Attributes:
        now: as they stand, [networks].
        best: assigned to each other, [networks, blocks of the reference, blocks].
        order: the assignments, int64 [networks, blocks of the reference, blocks, units].
    """

    now: Tensor
    best: Tensor
    order: Tensor


@attrs.frozen(eq=False)
class _Step:
    """Blocks that are assigned at once; units of a class are blocks of one unit.

    Attributes:
        parameters: the names of those that have their labels.
        groups: the units in them, by which may change places within a block.
    """

    parameters: list[str]
    groups: list[_Group]

    def assign(self, reference: Mapping[str, Tensor], current: Mapping[str, Tensor], sources: Tensor) -> Tensor:
        """Note in `sources` [networks, labels] what takes each place, and return how the agreement grows [networks]."""
        matched = [group.match(reference, current, len(sources)) for group in self.groups]
        best = torch.stack([own.best for own in matched]).sum(0)
        blocks = torch.stack([assign(one) for one in best])[:, :, None]
        for group, own in zip(self.groups, matched, strict=True):
            units = own.order.take_along_dim(blocks[..., None], 2)[:, :, 0]
            sources[:, group.labels] = group.labels[blocks[:, :, 0]].take_along_dim(units, 2)
        return best.take_along_dim(blocks, 2).sum((1, 2)) - torch.stack([own.now for own in matched]).sum(0)


def assign(agreement: Tensor) -> Tensor:
    """Return for each row of a square matrix the column that it gets, so that the sum is greatest.

    References: H. W. Kuhn (1955), The Hungarian Method for the Assignment Problem.

    Example:
        >>> assign(torch.tensor([[2.0, 3.0], [0.0, 2.0]])).tolist()
        [0, 1]
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  (slow to import)

    return torch.from_numpy(linear_sum_assignment(agreement.numpy(), maximize=True)[1])


def _steps(orbits: Orbits) -> list[_Step]:
    """Lay out blocks and then classes, in the order of their labels."""
    structure = orbits.structure
    class_of = {label: members for members in orbits.permutations for label in members}
    steps = [_step(structure, blocks, groups_of(blocks, blocks[0], class_of)) for blocks in structure.blocks]
    for members in orbits.permutations:
        single = [(label,) for label in members]
        steps.append(_step(structure, single, [single]))
    return steps


def _step(structure: Structure, blocks: Sequence[Block], groups: Sequence[Sequence[Block]]) -> _Step:
    """Find where the units of blocks stand. What moves with two axes at once, as in a depthwise kernel, counts once."""
    params = {param.parameter: param for layer in structure.spec.layers for param in layer.params}
    block_of = torch.full((structure.highest("permutation") + 2,), FROZEN)  # the last is that of FROZEN
    for number, block in enumerate(blocks):
        block_of[list(block)] = number
    seen: dict[str, list[Tensor]] = {}
    axes = []
    for axis in structure.axes:
        own = block_of[list(axis.permutation)]
        if bool((own != FROZEN).any()):
            param = params[axis.parameter]
            grid = axis.spread(param, tuple(own.tolist())).expand(param.known_shape)
            if not any(torch.equal(grid, other) for other in seen.get(axis.parameter, ())):
                seen.setdefault(axis.parameter, []).append(grid)
                axes.append(axis)
    found = [_Group(torch.tensor(group), _places(group, axes, params)) for group in groups]
    return _Step(list(seen), found)


def _places(group: Sequence[Block], axes: Sequence[Axis], params: Mapping[str, Param]) -> list[_Place]:
    """Find the axes on which the units of a group stand, and where."""
    labels = torch.tensor(group).flatten()
    places = []
    for axis in axes:
        own = torch.tensor(axis.permutation)
        if bool(torch.isin(own, labels).any()):
            entries = torch.stack([(own == label).nonzero()[:, 0] for label in labels])
            places.append(_Place(axis, params[axis.parameter], entries))
    return places


def _parameters(structure: Structure, weights: Weights) -> dict[str, Tensor]:
    """Return the module's parameters on the CPU, where assignments are solved: each [batch, *shape]."""
    return unpack(structure.spec, {layer: theta.detach().cpu() for layer, theta in weights.items()})


def _norms(parameters: Mapping[str, Tensor]) -> Tensor:
    """Return the norm of all parameters together, float64 [batch]."""
    squares = [values.double().square().flatten(1).sum(1) for values in parameters.values()]
    return torch.stack(squares).sum(0).sqrt()
