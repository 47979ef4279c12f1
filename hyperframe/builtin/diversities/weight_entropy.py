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
        False, "take each network's gauged weights divided by their norm: growing gains nothing", before=False
    )


class WeightEntropy(DiversityTerm):
    """L_diversity = −H[gauge(G(z))], estimated from the batch of networks.

    With `unit_norm` the entropy is that of gauge(G(z)) / ‖gauge(G(z))‖, whose gradient along a network's own weights is
    zero. Scaling gauges leave a network's size to its last layer, so longer logits add to the distance from every other
    network. Where a network is right about all that it trains on, they cost it next to nothing, and in long trainings
    with few networks a step some grow without end.

    Example:
        >>> import torch
        >>> class Spread(EntropyEstimator):
        ...     minimum_samples = 2
        ...
        ...     def __call__(self, samples, dimension, rng=None):
        ...         return samples.std(0).sum()
        >>> flat = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> long = flat * torch.tensor([[1.0], [100.0]])
        >>> term = WeightEntropy(Options(unit_norm=True), Spread())
        >>> term(DiversityInputs(flat=long)) == term(DiversityInputs(flat=flat))
        tensor(True)
    """

    needs = frozenset({"flat", "rng"})

    def __init__(self, options: Options, estimator: EntropyEstimator) -> None:
        self.options = options
        self.minimum_networks = estimator.minimum_samples
        self._estimator = estimator

    def departures(self, generator: Generator) -> list[str]:
        """List what keeps the term from being the weights' negative entropy."""
        reasons = self._estimator.departures(generator.spec.num_weights, generator.dimension)
        if self.options.unit_norm:
            reasons = [*reasons, "weight_entropy takes weights of norm one: set its unit_norm=false"]
        return reasons

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative entropy, in nats."""
        assert inputs.flat is not None
        flat, directions = inputs.flat, inputs.directions
        if self.options.unit_norm:
            flat, directions = normalize(flat), max(directions - 1, 1)  # the norm is one direction
        return -self._estimator(flat, min(inputs.dimension, directions), inputs.rng)


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
