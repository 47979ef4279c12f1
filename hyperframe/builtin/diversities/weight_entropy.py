"""The diversity term `weight_entropy`: the negative entropy of the weights after the gauge (Eq. 2)."""

import attrs
from torch import Tensor
from torch.nn.functional import normalize

from hyperframe import Component, Generator, hookimpl, option
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    unit_norm: bool = option(
        False, "each network's gauged weights are divided by their norm, so that growing gains none"
    )


class WeightEntropy(DiversityTerm):
    """L_diversity = −H[gauge(G(z))], estimated from the batch of networks.

    With `unit_norm` it is that of G(z) / ‖G(z)‖ in gauge. Gauges put a network's scale into its last layer, which no
    symmetry holds: where a network is right about all that it is trained on, longer logits cost it next to nothing, and
    are far from everything. With few networks in a step some then grow without end.
    """

    needs = frozenset({"flat", "rng"})

    def __init__(self, options: Options, estimator: EntropyEstimator) -> None:
        self.options = options
        self.minimum_networks = estimator.minimum_samples
        self._estimator = estimator

    def departures(self, generator: Generator) -> list[str]:
        """List what keeps the term from being the weights' negative entropy, as the estimator says."""
        return self._estimator.departures(generator.spec.num_weights, generator.dimension)

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative entropy, in nats."""
        assert inputs.flat is not None
        flat = normalize(inputs.flat) if self.options.unit_norm else inputs.flat
        return -self._estimator(flat, min(inputs.dimension, inputs.directions), inputs.rng)


def _build(options: Options, estimator: EntropyEstimator) -> WeightEntropy:
    return WeightEntropy(options, estimator)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="weight_entropy",
            factory=_build,
            options=Options,
            summary="the negative entropy of the weights after the gauge",
            reference="Eq. 2",
        )
    ]
