"""The diversity term `variance`: the negative variance of the weights (section 3.2.1)."""

from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class Variance(DiversityTerm):
    """L_diversity = −(1/D) Σ_j Var_i[θ_ij], over the networks i and the D weights j after the gauge.

    The variance is the unbiased one of the batch. Scale law: it is a² times as large for weights that are a times as
    large, so where no gauge fixes the weights' scale it can grow without bound.
    """

    needs = frozenset({"flat"})
    minimum_networks = 2

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative mean variance of a weight."""
        assert inputs.flat is not None
        return -inputs.flat.var(0).mean()


def _build(options: NoOptions, estimator: EntropyEstimator) -> Variance:
    return Variance()


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="variance",
            factory=_build,
            summary="the negative variance of the gauged weights",
            reference="section 3.2.1",
        )
    ]
