"""The diversity term `pairwise_distance`: the negative mean distance between two networks."""

from typing import Literal

import attrs
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hyperframe import Component, hookimpl, option
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    distance: Literal["l1", "l2"] = option("l1", "metric on the weights")


class PairwiseDistance(DiversityTerm):
    """L_diversity = −mean over pairs i ≠ j of d(θ_i, θ_j), of the weights after the gauge.

    d is the mean absolute difference of a weight (l1), or the root of the mean squared one (l2). Li et al. take the
    distance to a network that a random permutation of the batch picks; its mean over permutations is this one. Where
    networks coincide the gradient is zero.

    References: Y. Li, C. Fang, J. Yang, Z. Wang, X. Lu, M.-H. Yang (2017), Diversified Texture Synthesis with Feed-
    forward Networks, Eq. 3.
    """

    needs = frozenset({"flat"})
    minimum_networks = 2

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative mean distance, in units of a weight."""
        assert inputs.flat is not None
        rows, total = inputs.flat, inputs.flat.new_zeros(())
        for step in range(1, len(rows) // 2 + 1):
            # Recomputed for the gradient: kept in memory, the differences would be N / 2 copies of the weights.
            part = checkpoint(self._sum, rows, step, use_reentrant=False, preserve_rng_state=False)
            total = total + (part / 2 if 2 * step == len(rows) else part)
        return -2 * total / (len(rows) * (len(rows) - 1))

    def _sum(self, rows: Tensor, step: int) -> Tensor:
        """Return the sum of the distances between each row and the one `step` rows before it."""
        differences = rows - rows.roll(step, 0)
        if self.options.distance == "l1":
            return differences.abs().mean(1).sum()
        squares = differences.square().mean(1)
        return torch.where(squares > 0, torch.where(squares > 0, squares, 1.0).sqrt(), 0.0).sum()


def _build(options: Options, estimator: EntropyEstimator) -> PairwiseDistance:
    return PairwiseDistance(options)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="pairwise_distance",
            factory=_build,
            options=Options,
            summary="the negative mean distance of two networks' gauged weights",
            reference="Li et al. 2017",
        )
    ]
