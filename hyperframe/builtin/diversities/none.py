"""The diversity term `none`: the loss has no diversity term."""

import torch
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class NoDiversity(DiversityTerm):
    """L_diversity = 0: the comparison without a diversity term (section 4.3, Table 1c)."""

    needs = frozenset({"z"})

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return zero."""
        assert inputs.z is not None
        return torch.zeros((), device=inputs.z.device)


def _build(options: NoOptions, estimator: EntropyEstimator) -> NoDiversity:
    return NoDiversity()


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [Component(name="none", factory=_build, summary="no diversity term", reference="Table 1 (c)")]
