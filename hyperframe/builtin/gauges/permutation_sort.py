"""The gauge `permutation_sort`: units that may change places are sorted by the filters that write them."""

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.types import Gauge, NoOptions


class PermutationSortGauge(Gauge):
    """Fixes permutations: units of one class are sorted in lexicographic order of the filters that first write them.

    The layers are visited in execution order. Of a filter only the weights count that read units which are sorted
    already. Units with equal filters are sorted by the sums, then the sums of squares, of the weights that each layer
    has of them; units that agree in these as well keep their order. Values that differ only by rounding are equal,
    since another gauge may have made them equal (with one input and no bias, `scale` leaves nothing but signs). The
    comparisons make the host wait for the device, so the gauge is for analyses rather than for training.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"permutation"})

    def __init__(self, orbits: Orbits) -> None:
        self._sorted = Sorting(orbits)

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        return self._sorted(weights)


def _build(options: NoOptions, orbits: Orbits) -> PermutationSortGauge:
    return PermutationSortGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="permutation_sort",
            factory=_build,
            summary="units are sorted by the filters that write them",
        )
    ]
