"""Composition of gauges: one order, and no two for one kind of orbit."""

from collections.abc import Mapping
from itertools import combinations

from hyperframe.errors import ConfigError
from hyperframe.targets.symmetry.orbits import CONTINUOUS, KINDS
from hyperframe.types import Gauge, Weights


def find_conflict(gauges: Mapping[str, Gauge]) -> tuple[str, str, str] | None:
    """Find two gauges of a list that fix one kind of orbit: their names and the kind; None where there are none."""
    for (one, first), (other, second) in combinations(gauges.items(), 2):
        both = sorted(set(first.fixes) & set(second.fixes))
        if both:
            return one, other, both[0]
    return None


class ComposedGauge:
    """Several gauges as one, applied in the order of the kinds of orbits (`KINDS`), whatever order they are listed in.

    Args:
        gauges: by name; empty is the identity.

    Raises:
        ConfigError: two gauges fix one kind of orbit, or a gauge names a kind that does not exist.
    """

    def __init__(self, gauges: Mapping[str, Gauge]) -> None:
        for name, gauge in gauges.items():
            if not isinstance(gauge.fixes, frozenset):
                raise ConfigError(f"gauge '{name}': fixes must be a frozenset of {', '.join(KINDS)}")
            if not gauge.fixes or not gauge.fixes <= set(KINDS):
                wrong = ", ".join(sorted(gauge.fixes - set(KINDS))) or "nothing"
                raise ConfigError(f"gauge '{name}' fixes {wrong}; a gauge fixes one or more of {', '.join(KINDS)}")
        conflict = find_conflict(gauges)
        if conflict is not None:
            one, other, kind = conflict
            raise ConfigError(f"gauges: '{one}' and '{other}' both fix the orbit '{kind}'; keep one")
        by_kind = {kind: name for name, gauge in gauges.items() for kind in gauge.fixes}
        self.names = list(dict.fromkeys(by_kind[kind] for kind in KINDS if kind in by_kind))
        self._gauges = [gauges[name] for name in self.names]

    def fixed(self, counts: Mapping[str, int]) -> dict[str, int]:
        """For each kind of orbit how much of it is fixed, of what `hyperframe.targets.Orbits.counts` counts."""
        fixed = dict.fromkeys(KINDS, 0)
        for gauge in self._gauges:
            fixed |= {kind: counts[kind] if gauge.directions is None else gauge.directions for kind in gauge.fixes}
        return fixed

    def directions(self, num_weights: int, counts: Mapping[str, int]) -> int:
        """The number of directions in which the weights still differ: less those of the continuous orbits it fixes."""
        return num_weights - sum(self.fixed(counts)[kind] for kind in CONTINUOUS)

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set under all the gauges."""
        for gauge in self._gauges:
            weights = gauge(weights)
        return weights
