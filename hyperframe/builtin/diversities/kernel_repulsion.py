"""The diversity term `kernel_repulsion`: the repulsion between particles in Stein variational gradient descent."""

import math

import attrs
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hyperframe import Component, hookimpl, option
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator

FLOOR = 64.0
"""The smallest bandwidth, in rounding errors of the weights' own size."""


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
        # Recomputed for the gradient: kept in memory, the differences would be N / 2 copies of the weights.
        parts = [
            checkpoint(_squares, rows, step, use_reentrant=False, preserve_rng_state=False)
            for step in range(1, count // 2 + 1)
        ]
        if count % 2 == 0:
            parts[-1] = parts[-1][: count // 2]  # at this step each pair comes twice
        squares = torch.cat(parts)  # of each pair
        if self.options.bandwidth is not None:
            wide: Tensor | float = self.options.bandwidth**2
        else:
            rounding = FLOOR * torch.finfo(rows.dtype).eps * torch.linalg.vector_norm(rows.detach(), dim=1).amax()
            floor = rounding.square().clamp(min=torch.finfo(rows.dtype).tiny)
            wide = torch.maximum(squares.detach().median(), floor) / math.log(count + 1)
        return (count / 2 + (-squares / wide).exp().sum()) / count


def _squares(rows: Tensor, step: int) -> Tensor:
    """Return the squared distance between each row and the one `step` rows before it, [rows]."""
    return (rows - rows.roll(step, 0)).square().sum(1)


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
