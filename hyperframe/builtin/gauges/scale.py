"""The gauge `scale`: every filter has the norm of its size, and its readers make up for it (section 3.2.2)."""

import torch
from torch import Tensor

from hyperframe import Component, Orbits, Weights, hookimpl
from hyperframe.symmetry import LayerScaling
from hyperframe.types import NoOptions


class ScaleGauge:
    """Fixes positive scaling: Σ_k θ_{l,i}[k]² = n for the filter that first writes each unit.

    The layers are walked once in execution order. What anchors a unit is the filter that writes it first; its carrier
    is its kernel and bias (n is their number of entries) or, behind a normalisation, its scale and shift (n = 2). All
    that writes the unit is multiplied by √(n / Σθ²), all that reads it divided by it. Where a carrier's norm is
    zero the factor is 1, and its gradient zero.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"scaling"})

    def __init__(self, orbits: Orbits) -> None:
        self._scaling = orbits.scaling

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        first = next(iter(weights.values()))
        # One factor a label, and a last column of ones for entries without a label.
        factors = first.new_ones(len(first), self._scaling.count + 1)
        result = {}
        for layer in self._scaling.layers:
            theta = weights[layer.layer]
            if layer.reads is not None:
                theta = theta / factors[:, layer.reads]
            if len(layer.anchors):
                factors = factors.index_copy(1, layer.anchored, _carrier_factors(theta, layer))
            if layer.writes is not None:
                theta = theta * factors[:, layer.writes]
            result[layer.layer] = theta
        return result


def _carrier_factors(theta: Tensor, layer: LayerScaling) -> Tensor:
    """Factors [batch, anchored labels] that give the carriers their norm; 1 where the norm is zero."""
    carriers = theta
    if len(layer.anchors) < theta.shape[1]:
        carriers = carriers[:, layer.anchors]
    if len(layer.carrier) < theta.shape[2]:  # else they are all columns, in order
        carriers = carriers[:, :, layer.carrier]
    # The largest entry is taken out first: squares neither overflow nor vanish.
    largest = carriers.detach().abs().amax(2)
    alive = largest > 0
    largest = torch.where(alive, largest, 1.0)
    squares = (carriers / largest[:, :, None]).square().sum(2)
    return torch.where(alive, (carriers.shape[2] / torch.where(alive, squares, 1.0)).sqrt() / largest, 1.0)


def _build(options: NoOptions, orbits: Orbits) -> ScaleGauge:
    return ScaleGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="scale",
            factory=_build,
            summary="every filter has the norm √(its number of entries), its readers divide by the factor",
            reference="section 3.2.2",
        )
    ]
