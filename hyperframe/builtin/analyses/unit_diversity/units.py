"""Where in a network its diversity lies: how much each filter varies over networks, and how strongly it is read."""

import attrs
import torch
from torch import Tensor

from hyperframe import Weights
from hyperframe.targets import LayerSpec, Orbits, batch_size
from hyperframe.targets.symmetry.structure import FROZEN


@attrs.frozen(kw_only=True, eq=False)
class LayerUnits:
    """The filters of one layer whose units other filters read; everything float64 on the CPU.

    Attributes:
        layer: its name.
        filters: the numbers of these filters within the layer, [units].
        deviation: squared relative deviation of each network's filter from the mean one,
            ‖θ_n,u − mean_n θ_n,u‖² / mean_n ‖θ_n,u‖², [networks, units]; 0 where the filter is zero in all networks.
        strength: norm of all kernel weights that read the unit, relative to the mean over the layer's units in the same
            network, [networks, units]; 1 where all weights that read units of the layer are zero.
    """

    layer: str
    filters: Tensor
    deviation: Tensor
    strength: Tensor

    @property
    def spread(self) -> Tensor:
        """Standard deviation of each filter over the networks, relative to its root mean square norm, [units]."""
        return self.deviation.mean(0).sqrt()

    def weak_part(self, weak: float) -> tuple[Tensor, Tensor]:
        """Return the sum of squared deviations in all units, and in units of a strength below `weak`."""
        return self.deviation.sum(), self.deviation[self.strength < weak].sum()


def layer_units(orbits: Orbits, weights: Weights) -> list[LayerUnits]:
    """Return deviation and strength of the units of each layer whose units are read.

    A unit is what a permutation label stands for. A unit that several layers write, as in a residual sum, has one
    strength, and a spread in each of these layers. The last layer, and layers for which it is not known which weights
    read their units, are left out.

    Args:
        orbits: the target's symmetries.
        weights: for each layer [networks, filters, filter_size], representatives under gauges, with units that
            correspond to each other in the same places. Without a gauge of the factors between layers neither figure
            means anything.

    Example:
        >>> from hyperframe.testing.networks import network
        >>> from hyperframe.testing.laws import Draw
        >>> net = network("dense", Draw())
        >>> weights, *_ = net.make(Draw(networks=3))
        >>> [tuple(units.strength.shape) for units in layer_units(net.orbits, weights)]
        [(3, 3)]
    """
    spec = orbits.structure.spec
    squares, read = _read_squares(orbits, weights)
    found = []
    for layer in spec.layers:
        labels = _written(orbits, layer)
        known = (labels != FROZEN) & read[labels.clamp(min=0)]
        if not bool(known.any()):
            continue
        filters = known.nonzero()[:, 0]
        theta = weights[layer.name][:, filters.to(weights[layer.name].device)].double()
        apart = (theta - theta.mean(0)).square().sum(2).cpu()
        size = theta.square().sum(2).mean(0).cpu()
        strength = squares[:, labels[filters]].sqrt()
        mean = strength.mean(1, keepdim=True)
        found.append(
            LayerUnits(
                layer=layer.name,
                filters=filters,
                deviation=torch.where(size > 0, apart / size.where(size > 0, 1.0), 0.0),
                strength=torch.where(mean > 0, strength / mean.where(mean > 0, 1.0), 1.0),
            )
        )
    return found


def _written(orbits: Orbits, layer: LayerSpec) -> Tensor:
    """The label that each filter of a layer writes, [filters]."""
    grid = orbits.structure.grid(layer, [param.role for param in layer.params], "permutation", 1)
    return grid.amax(1).expand(layer.filters)


def _read_squares(orbits: Orbits, weights: Weights) -> tuple[Tensor, Tensor]:
    """For each label the summed squares of the kernels that read it [networks, labels], and whether any does."""
    structure = orbits.structure
    squares = torch.zeros(batch_size(weights), structure.highest("permutation") + 1, dtype=torch.float64)
    read = torch.zeros(squares.shape[1], dtype=torch.bool)
    for layer in structure.spec.layers:
        if layer.param("kernel") is None:
            continue
        kernel = weights[layer.name][:, :, layer.columns["kernel"]].double().cpu()
        labels = structure.grid(layer, ["kernel"], "permutation", -1).expand(kernel.shape[1:])
        inside = labels != FROZEN
        squares.index_add_(1, labels[inside], kernel[:, inside].square())
        read[labels[inside]] = True
    return squares, read
