"""The gauge `scale`: every filter has the norm of its size, and its readers make up for it (section 3.2.2)."""

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits, propagate_factors
from hyperframe.targets.symmetry.propagate import norm_factors
from hyperframe.types import NoOptions


class ScaleGauge:
    """Fixes positive scaling: Σ_k θ_{l,i}[k]² = n for the filter that first writes each unit.

    The layers are walked once in execution order. What anchors a unit is the filter that writes it first; its carrier
    is its kernel and bias (n is their number of entries) or, behind a normalisation, its scale and shift (n = 2). All
    that writes the unit is multiplied by √(n / Σθ²), all that reads it divided by it. Where a carrier's norm is
    zero the factor is 1, and its gradient zero: what reads a unit that is always zero keeps its size, which S changes.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"scaling"})

    def __init__(self, orbits: Orbits) -> None:
        self._scaling = orbits.scaling

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        return propagate_factors(self._scaling, weights, norm_factors)


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
