"""The gauge `sign`: filters whose sign can pass to their readers have a positive sum."""

import torch
from torch import Tensor

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits, propagate_factors
from hyperframe.targets.symmetry.propagate import sum_by_label
from hyperframe.types import Gauge, NoOptions


class SignGauge(Gauge):
    """Fixes signs that odd operations such as tanh let pass: Σ_k θ_{l,i}[k] ≥ 0 for a unit's first writer.

    The sum is over the filter's kernel and bias, or over the shift behind a normalisation. Where it is zero, or there
    is no shift, the sign is left as it is. Where several filters share one sign, their sums are added, each divided by
    the filter's norm, since a normalisation may take away each filter's own factor.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"sign"})

    def __init__(self, orbits: Orbits) -> None:
        self._sign = orbits.sign

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        return propagate_factors(self._sign, weights, _signs)


def _signs(carriers: Tensor, segments: Tensor | None, labels: int) -> Tensor:
    sums = carriers.detach().sum(2)
    if segments is not None:
        norms = torch.linalg.vector_norm(carriers.detach(), dim=2)
        sums = sum_by_label(sums / torch.where(norms > 0, norms, 1.0), segments, labels)
    return torch.where(sums < 0, -1.0, 1.0).to(carriers)


def _build(options: NoOptions, orbits: Orbits) -> SignGauge:
    return SignGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="sign",
            factory=_build,
            summary="filters followed by odd operations only have a positive sum, and their readers take the sign",
        )
    ]
