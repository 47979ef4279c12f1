"""The gauge `sign`: where signs pass from writers to readers, what carries them has a positive sum."""

import torch
from torch import Tensor

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits, propagate_factors
from hyperframe.targets.symmetry.propagate import summed
from hyperframe.types import NoOptions


class SignGauge:
    """Fixes signs that odd operations let pass, such as tanh: Σ_k θ_{l,i}[k] ≥ 0 for the filter that first writes.

    The sum is over a filter's kernel and bias, or over the shift behind a normalisation. Where it is zero, or where
    there is no shift, the sign is left as it is. Where several filters have one sign, their sums are added, each
    divided by the filter's norm, since a normalisation may take away their factors one by one.

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
        sums = summed(sums / torch.where(norms > 0, norms, 1.0), segments, labels)
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
            summary="filters behind which all operations are odd have a positive sum, their readers the sign",
        )
    ]
