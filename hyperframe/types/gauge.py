"""The base class of gauges: one representative of all weights that are the same function by a symmetry."""

from abc import abstractmethod

from hyperframe.types.data import Weights


class Gauge:
    """A map of weights to one representative of each class under some symmetry. The base class of gauges.

    It keeps the target's function, gives the same result for θ and Sθ, changes nothing when applied twice, and is
    differentiable. Statistics that were estimated for the weights before are not those of the weights after it.

    Attributes:
        fixes: the kinds of orbits that it fixes, of `hyperframe.targets.symmetry.orbits.KINDS`.
        directions: how many directions of its kind it fixes; None for all.
    """

    fixes: frozenset[str]
    directions: int | None = None

    @abstractmethod
    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
