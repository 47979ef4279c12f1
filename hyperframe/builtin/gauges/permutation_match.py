"""The gauge `permutation_match`: units that may change places stand where those of a reference network stand."""

import attrs

from hyperframe import Component, Weights, hookimpl, option
from hyperframe.networks.storage import read_first_weights
from hyperframe.runtime.files import user_path
from hyperframe.targets import Orbits
from hyperframe.targets.symmetry.matching import Matching, random_reference


@attrs.frozen(kw_only=True)
class Options:
    """Options of the gauge."""

    reference: str | None = option(
        None,
        "a file of networks that 'sample --out' wrote, of which the first is matched with; null: random filters",
        location=True,
    )


class PermutationMatchGauge:
    """Fixes permutations: units of one class are assigned to those of a reference by the filters that first write them.

    See `hyperframe.targets.symmetry.matching.Matching`. `permutation_sort` fixes the same by an order of the filters,
    which needs no reference but is torn: where the first weights of two units pass each other, both jump. Assigned
    units jump where two assignments agree equally well with the reference, and near the reference nowhere, so that the
    representatives of networks that are near up to a permutation are near: what distances and averages of networks
    need. It solves assignments on the host, so it is for analyses rather than for training.

    A reference from a file should be a representative under the other gauges of the list (`sample --gauge`), since the
    weights that it is compared with are.

    Args:
        orbits: the target's symmetries.
        reference: for each layer [1, filters, filter_size].

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"permutation"})

    def __init__(self, orbits: Orbits, reference: Weights) -> None:
        self._matched = Matching(orbits, reference)

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        return self._matched(weights)


def _build(options: Options, orbits: Orbits) -> PermutationMatchGauge:
    if options.reference is None:
        return PermutationMatchGauge(orbits, random_reference(orbits))
    path = user_path(options.reference)
    return PermutationMatchGauge(orbits, read_first_weights(path, orbits.structure.spec))


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="permutation_match",
            factory=_build,
            options=Options,
            summary="units stand where the most similar units of a reference network stand",
        )
    ]
