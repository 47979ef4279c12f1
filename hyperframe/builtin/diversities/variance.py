"""The diversity term `variance`: the negative variance of the weights (section 3.2.1)."""

from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.types import DiversityInputs, EntropyEstimator, NoOptions


class Variance:
    """L_diversity = −(1/D) Σ_j Var_i[θ_ij], over the networks i and the D weights j after the gauge.

    The variance is the unbiased one of the batch. Scale law: a² for weights that are a times as large, so weights that
    no gauge holds can make it grow without end.
    """

    needs = frozenset({"flat"})
    minimum_networks = 2

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """The negative mean variance of a weight."""
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
