"""The diversity term `sparsity`: the mean absolute value of the weights after the gauge."""

from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class Sparsity(DiversityTerm):
    """L_diversity = mean_i mean_j |θ_ij|, over the networks i and the weights j after the gauge.

    In the gauge `scale` a filter of n entries that writes units has Σθ² = n, whatever the generator makes. Its mean
    absolute value is then 1 where its entries are equally large, and 1/√n where all but one are zero, so it is lowered
    by small entries beside large ones, and not by small filters. The last layer has no such norm, nor has any without
    that gauge: there the term also makes the weights small. It does not compare networks, so it is no replacement for a
    term that does: use it beside one. Weights come close to zero and are hardly ever zero; the analysis `pruning` says
    how many of them can be left out.

    References: R. Tibshirani (1996), Regression Shrinkage and Selection via the Lasso.
    """

    needs = frozenset({"flat"})

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the mean absolute value of a weight."""
        assert inputs.flat is not None
        return inputs.flat.abs().mean()


def _build(options: NoOptions, estimator: EntropyEstimator) -> Sparsity:
    return Sparsity()


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="sparsity",
            factory=_build,
            summary="the mean absolute value of the gauged weights; compares no networks, and stands beside others",
            reference="R. Tibshirani (1996), Regression Shrinkage and Selection via the Lasso",
        )
    ]
