"""The diversity term `weight_entropy`: the negative entropy of the weights after the gauge (Eq. 2)."""

from torch import Tensor

from hyperframe import Component, Generator, hookimpl
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class WeightEntropy(DiversityTerm):
    """L_diversity = −H[gauge(G(z))], estimated from the batch of networks."""

    needs = frozenset({"flat", "rng"})

    def __init__(self, estimator: EntropyEstimator) -> None:
        self.minimum_networks = estimator.minimum_samples
        self._estimator = estimator

    def departures(self, generator: Generator) -> list[str]:
        """List what keeps the term from being the weights' negative entropy, as the estimator says."""
        return self._estimator.departures(generator.spec.num_weights, generator.dimension)

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative entropy, in nats."""
        assert inputs.flat is not None
        return -self._estimator(inputs.flat, min(inputs.dimension, inputs.directions), inputs.rng)


def _build(options: NoOptions, estimator: EntropyEstimator) -> WeightEntropy:
    return WeightEntropy(estimator)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="weight_entropy",
            factory=_build,
            summary="the negative entropy of the weights after the gauge",
            reference="Eq. 2",
        )
    ]
