"""The gauge `scale`: every filter has a norm fixed by its size, and its readers make up for it (section 3.2.2)."""

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits, propagate_factors
from hyperframe.targets.symmetry.propagate import norm_factors
from hyperframe.types import Gauge, NoOptions


class ScaleGauge(Gauge):
    """Fixes positive scaling: Σ_k θ_{l,i}[k]² = n for the filter that first writes each unit.

    The layers are visited once in execution order. The anchor of a unit is the filter that writes it first; its carrier
    is the kernel with its bias (n is their number of entries) or, behind a normalisation, scale and shift (n = 2). All
    weights that write the unit are multiplied by √(n / Σθ²), all that read it are divided by it. Where a carrier's norm
    is zero the factor is 1, with a gradient of zero: the unit is then always zero, and the weights that read it keep
    their size, although their scaling is free.

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
