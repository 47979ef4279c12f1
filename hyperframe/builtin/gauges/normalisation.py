"""The gauge `normalisation`: kernels before a normalisation have a fixed norm and no bias, its scale is positive."""

import torch
from torch import Tensor

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits
from hyperframe.targets.symmetry.propagate import apply_factors, carriers, normalise_kernels, sum_by_label
from hyperframe.types import Gauge, NoOptions


class NormalisationGauge(Gauge):
    """Fixes what a normalisation takes away: Σ_k θ[k]² = n over the n entries of each kernel before it, bias 0, γ ≥ 0.

    The signs of kernel, bias and scale γ are free together, since (−kernel, −bias, −γ) with the same shift is the same
    function; they are chosen so that γ is positive, and where γ is 0 so that the kernel's entries have a positive sum.
    A kernel of norm zero is left as it is. LayerNorm and GroupNorm take away one factor of all their filters; these
    filters together get the norm.

    The function is kept exactly with the batch's statistics and no epsilon. With the module's own epsilon outputs
    change a little, the more the larger it is beside the variance of the kernel's outputs.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"normalisation", "norm_sign"})

    def __init__(self, orbits: Orbits) -> None:
        self._orbits = orbits
        self._readers = _first_readers(orbits)

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        result = normalise_kernels(self._orbits, weights)
        if not self._orbits.norm_sign.count:
            return result
        return apply_factors(self._orbits.norm_sign, result, self._signs(result))

    def _signs(self, weights: Weights) -> Tensor:
        """Return 1 or −1 for each label, [batch, labels + 1]."""
        orbit = self._orbits.norm_sign
        first = next(iter(weights.values())).detach()
        signs = first.new_zeros(len(first), orbit.count + 1)
        for layer, rows, numbers, columns in self._readers:
            scale = weights[layer].detach()[:, :, columns].sum(2)
            signs.index_add_(1, numbers, scale[:, rows])
        signs = signs.sign()
        for stage in orbit.stages:
            if len(stage.anchors):
                theta = stage.take(weights[stage.layer].detach())
                sums = sum_by_label(carriers(stage, theta).sum(2), stage.segments, len(stage.anchored))
                signs[:, stage.anchored] += (signs[:, stage.anchored] == 0) * sums.sign()
        return torch.where(signs == 0, 1.0, signs)


def _first_readers(orbits: Orbits) -> list[tuple[str, Tensor, Tensor, slice]]:
    """Find for each label the scale that reads it first: layers, rows, numbers of the labels, columns of the scale."""
    orbit, found = orbits.norm_sign, []
    seen: set[int] = set()
    for stage in orbit.stages:
        if not stage.reads:
            continue
        layer = orbits.structure.spec.layer(stage.layer)
        numbers = stage.reads[0].amin(1).expand(layer.filters)
        fresh = [row for row, number in enumerate(numbers.tolist()) if number < orbit.count and number not in seen]
        seen.update(numbers.tolist())
        rows = torch.tensor(fresh, dtype=torch.int64, device=numbers.device)
        found.append((layer.name, rows, numbers[rows], layer.columns["scale"]))
    return found


def _build(options: NoOptions, orbits: Orbits) -> NormalisationGauge:
    return NormalisationGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="normalisation",
            factory=_build,
            summary="kernels before a normalisation have the norm √(their entries) and no bias, its scale is positive",
        )
    ]
