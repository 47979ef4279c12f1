"""The gauge `permutation_sort`: units that may change places stand in the order of the filters that write them."""

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.types import NoOptions


class PermutationSortGauge:
    """Fixes permutations: units of one class stand in lexicographic order of the filters that first write them.

    The layers are walked in execution order; what a filter reads of units that stand in their order already counts,
    what it reads of others does not. Units with equal filters stand in the order of the sums and the summed squares of
    what each layer has of them; units that agree in these as well stay as they stood. Values that differ by rounding
    only are equal: another gauge may have made them so (one input and no bias leave the gauge `scale` nothing but
    signs). It asks the device how the values compare, so it is for analyses rather than for training.

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
            summary="units stand in the order of the filters that write them",
        )
    ]
