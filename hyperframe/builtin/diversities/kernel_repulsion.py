"""The diversity term `kernel_repulsion`: the repulsion between particles in Stein variational gradient descent."""

import attrs
from torch import Tensor

from hyperframe import Component, hookimpl, option
from hyperframe.experiment.pairs import median_bandwidth, once_each, squared_distances
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    bandwidth: float | None = option(
        None, "h of the kernel, a distance of gauged weights; null: from the batch's median distance", above=0
    )


class KernelRepulsion(DiversityTerm):
    """L_diversity = ½ · (1/N) Σ_i Σ_j k(θ_i, θ_j) with k(a, b) = exp(−‖a − b‖² / h²), of the weights after the gauge.

    Its negative gradient at θ_i is (1/N) Σ_j ∇_{θ_j} k(θ_j, θ_i), the repulsion of Stein variational gradient descent.
    By default h² = median_{i≠j} ‖θ_i − θ_j‖² / log(N + 1), and no gradient passes through h: the gradient is therefore
    not that of the value, which hardly changes when all distances grow alike. Networks that coincide do not drive each
    other apart.

    References: Q. Liu, D. Wang (2016), Stein Variational Gradient Descent.
    """

    needs = frozenset({"flat"})
    minimum_networks = 2

    def __init__(self, options: Options) -> None:
        self.options = options
        self.own_gradient = options.bandwidth is None

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return half the mean over networks of the kernel's sum, between ½ and N/2."""
        assert inputs.flat is not None
        rows, count = inputs.flat, len(inputs.flat)
        squares = once_each(squared_distances(rows))
        given = self.options.bandwidth
        h = given**2 if given is not None else median_bandwidth(squares, rows)
        return (count / 2 + (-squares / h).exp().sum()) / count


def _build(options: Options, estimator: EntropyEstimator) -> KernelRepulsion:
    return KernelRepulsion(options)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="kernel_repulsion",
            factory=_build,
            options=Options,
            summary="the repulsion of Stein variational gradient descent between gauged weights",
            reference="Liu and Wang 2016",
        )
    ]
