"""The gauge `permutation_match`: units that may change places are matched to the units of a reference network."""

import attrs

from hyperframe import Component, Weights, hookimpl, option
from hyperframe.networks.storage import read_first_weights
from hyperframe.runtime.files import user_path
from hyperframe.targets import Orbits
from hyperframe.targets.symmetry.matching import Matching, random_reference
from hyperframe.types import Gauge


@attrs.frozen(kw_only=True)
class Options:
    """Options of the gauge."""

    reference: str | None = option(
        None,
        "a file that 'hyperframe sample' wrote, whose first network is the reference; null: random filters",
        location=True,
    )


class PermutationMatchGauge(Gauge):
    """Fixes permutations: units of one class are assigned to those of a reference by all weights that meet in them.

    See `hyperframe.targets.symmetry.matching.Matching`: after a first pass, by the filters that write units, each class
    in turn is assigned by the weights that write and read it, until none changes. `permutation_sort` fixes permutations
    by sorting the filters, which needs no reference but is discontinuous: where the first weights of two units become
    equal, both jump. Matched units jump only where two assignments agree equally well with the reference, which is
    never near it. Networks that are near each other up to a permutation thus have representatives that are near each
    other, as distances and averages of networks need. Assignments are solved on the host, so the gauge is for analyses
    rather than for training.

    A reference from a file should be a representative under the list's other gauges (`sample --gauge`), since the
    weights that it is compared with are.

    Args:
        orbits: the target's symmetries.
        reference: for each layer [1, filters, filter_size].

    Shapes: each layer [batch, filters, filter_size], in and out.

    References: S. Ainsworth, J. Hayase, S. Srinivasa (2022), Git Re-Basin: Merging Models modulo Permutation
    Symmetries, arXiv:2209.04836, algorithm 1.
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
            summary="units are put in the places of the most similar units of a reference network",
        )
    ]
