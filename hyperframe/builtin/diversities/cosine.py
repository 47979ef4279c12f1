"""The diversity term `cosine`: the mean cosine between two networks."""

import torch
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class Cosine(DiversityTerm):
    """L_diversity = mean over pairs i ≠ j of θ_i·θ_j / (‖θ_i‖ ‖θ_j‖), of the weights after the gauge.

    It lies between −1/(N − 1) and 1, whatever the size of the weights. A row of zeros counts as orthogonal to all.

    References: C. Olah, A. Mordvintsev, L. Schubert (2017), Feature Visualization, Distill, "Diversity".
    """

    needs = frozenset({"flat"})
    minimum_networks = 2

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the mean cosine."""
        assert inputs.flat is not None
        rows = inputs.flat
        squares = rows.square().sum(1, keepdim=True)
        directions = torch.where(squares > 0, rows * torch.where(squares > 0, squares, 1.0).rsqrt(), 0.0)
        lengths = directions.square().sum()
        return (directions.sum(0).square().sum() - lengths) / (len(rows) * (len(rows) - 1))


def _build(options: NoOptions, estimator: EntropyEstimator) -> Cosine:
    return Cosine()


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="cosine",
            factory=_build,
            summary="the mean cosine between two networks' gauged weights",
            reference="Olah et al. 2017",
        )
    ]
