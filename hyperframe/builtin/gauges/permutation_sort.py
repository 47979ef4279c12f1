"""The gauge `permutation_sort`: units that may change places stand in the order of the filters that write them."""

import torch
from torch import Tensor

from hyperframe import Component, LayerSpec, Orbits, Weights, hookimpl
from hyperframe.structure import FROZEN
from hyperframe.symmetry import permuted
from hyperframe.types import NoOptions
from hyperframe.weights import batch_size

ROUNDING = 64
"""Values that differ by fewer rounding errors of the largest one are equal."""


class PermutationSortGauge:
    """Fixes permutations: units of one class stand in lexicographic order of the filters that first write them.

    The layers are walked in execution order; what a filter reads of units that stand in their order already counts,
    what it reads of others does not. Units with equal filters stand in the order of the summed squares of what first
    reads them. Values that differ by rounding only are equal: another gauge may have made them so (one input and no
    bias leave the gauge `scale` nothing but signs). It asks the device how the values compare, so it is for analyses
    rather than for training.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"permutation"})

    def __init__(self, orbits: Orbits) -> None:
        self._orbits = orbits
        self._plan = _plan(orbits)

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        structure = self._orbits.structure
        sources = torch.arange(structure.highest("permutation") + 1).repeat(batch_size(weights), 1)
        seen = {layer: theta.detach() for layer, theta in weights.items()}
        sorted_labels = torch.zeros(sources.shape[1], dtype=torch.bool)
        for layer, classes in self._plan:
            current = permuted(structure, sources, seen, [layer.name])[layer.name]
            reads = structure.grid(layer, [param.role for param in layer.params], "permutation", -1)
            loose = (reads != FROZEN) & ~sorted_labels[reads.clamp(min=0)]
            current = current.masked_fill(loose.to(current.device), 0.0)
            writes = structure.grid(layer, [param.role for param in layer.params], "permutation", 1).amax(1)
            for members in classes:
                labels = torch.tensor(members)
                rows = torch.stack([(writes == label).nonzero()[:, 0] for label in members])
                keys = current[:, rows].flatten(2)
                order = _lexicographic(torch.cat([keys, self._read_squares(seen, members)[:, :, None]], 2)).cpu()
                sources[:, labels] = labels[order]
                sorted_labels[labels] = True
        return permuted(structure, sources, dict(weights), structure.spec.layer_names)

    def _read_squares(self, weights: Weights, members: tuple[int, ...]) -> Tensor:
        """For each label the summed squares of what the first layer that reads it reads it with [batch, labels]."""
        structure = self._orbits.structure
        first = next(iter(weights.values()))
        for layer in structure.spec.layers:
            reads = structure.grid(layer, [param.role for param in layer.params], "permutation", -1)
            if bool((reads == members[0]).any()):
                theta, reads = weights[layer.name], reads.to(first.device)
                return torch.stack([(theta * (reads == label)).square().sum((1, 2)) for label in members], 1)
        return first.new_zeros(len(first), len(members))


def _plan(orbits: Orbits) -> list[tuple[LayerSpec, list[tuple[int, ...]]]]:
    """The layers that are the first to write a class, in execution order, with these classes."""
    waiting = {label: members for members in orbits.permutations for label in members}
    plan = []
    for layer in orbits.structure.spec.layers:
        writes = orbits.structure.grid(layer, [param.role for param in layer.params], "permutation", 1)
        found = dict.fromkeys(waiting[label] for label in torch.unique(writes).tolist() if label in waiting)
        if found:
            plan.append((layer, list(found)))
            waiting = {label: members for label, members in waiting.items() if members not in found}
    return plan


def _lexicographic(keys: Tensor) -> Tensor:
    """The order of rows [batch, rows, columns] by their first column, ties by the next, and so on: [batch, rows]."""
    rounding = ROUNDING * torch.finfo(keys.dtype).eps * keys.abs().amax((1, 2))[:, None]
    group = torch.zeros(keys.shape[:2], dtype=torch.int64, device=keys.device)
    order = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape[:2])
    for column in range(keys.shape[2]):
        values = keys[:, :, column]
        within = values.argsort(dim=1, stable=True)
        order = within.gather(1, group.gather(1, within).argsort(dim=1, stable=True))
        sorted_values, sorted_groups = values.gather(1, order), group.gather(1, order)
        new = (sorted_values.diff(dim=1) > rounding) | (sorted_groups.diff(dim=1) != 0)
        ranks = torch.cat([torch.zeros_like(group[:, :1]), new.cumsum(1)], 1)
        group = torch.empty_like(group).scatter(1, order, ranks)
        if bool(new.all()):
            break
    return order


def _build(options: NoOptions, orbits: Orbits) -> PermutationSortGauge:
    return PermutationSortGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="permutation_sort",
            factory=_build,
            summary="units stand in the order of the filters that write them",
        )
    ]
