"""The gauge `balanced`: of all networks that positive scaling reaches, the one with the least norm.

- `posynomial`: the squared norm as a function of the factors
- `minimum`: the factors at which it is least
"""

from hyperframe import Component, Weights, hookimpl
from hyperframe.builtin.gauges.balanced.minimum import find_minimum
from hyperframe.builtin.gauges.balanced.posynomial import Posynomial
from hyperframe.targets import Orbits, propagate_factors
from hyperframe.targets.symmetry.propagate import norm_factors, normalise_kernels
from hyperframe.types import Gauge, NoOptions


class BalancedGauge(Gauge):
    """Fixes positive scaling: the sum of all squared weights is the least that factors of units can make it.

    With u the logarithms of the factors it is Σ_e θ_e² exp(2 (Σ u_written − Σ u_read)), which is convex and has one
    minimum. There what writes a unit has the same norm as what reads it, so that a factor between two layers is shared
    equally, whichever comes first.

    A unit that nothing reads, or that nothing writes, is of no account to the function. Its factor has no least norm
    but a limit, zero: all its weights become zero, and such filters are no longer different in networks that are the
    same without them. The same holds for units which only such units read, or write.

    Kernels before a normalisation can have any norm; they are counted with the norm √n of their n entries, where other
    factors are those of the gauge `scale`. The sum of squares is least for these kernels.

    All is computed in float64 and in logarithms of sums of squares, to about 1e-12 of each factor, whatever the size of
    weights as long as the product of all layers' norms is a number of float64. It takes several times as long as
    `scale`, the more the more units there are.

    Shapes: each layer [batch, filters, filter_size], in and out.

    References: B. Neyshabur, R. Salakhutdinov, N. Srebro (2015), Path-SGD; S. S. Du, W. Hu, J. D. Lee (2018),
    Algorithmic Regularization in Learning Deep Homogeneous Models (weights of balanced layers).
    """

    fixes = frozenset({"scaling"})

    def __init__(self, orbits: Orbits) -> None:
        self._orbits = orbits
        self._norm = Posynomial(orbits) if orbits.scaling.count else None

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        if self._norm is None:
            return dict(weights)
        double = {layer: theta.double() for layer, theta in weights.items()}
        begin = propagate_factors(self._orbits.scaling, double, norm_factors)
        coefficients, some = self._norm.coefficients(normalise_kernels(self._orbits, begin))
        alive = self._norm.alive(some)
        logarithms = find_minimum(self._norm, coefficients, alive)
        scaled = self._norm.multiply(begin, self._norm.exponents(logarithms).exp() * alive)
        return {layer: theta.to(weights[layer].dtype) for layer, theta in scaled.items()}


def _build(options: NoOptions, orbits: Orbits) -> BalancedGauge:
    return BalancedGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="balanced",
            factory=_build,
            summary="the network of least norm that positive scaling reaches; units without a part become zero",
        )
    ]
