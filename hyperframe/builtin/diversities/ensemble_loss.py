"""The diversity term `ensemble_loss`: the loss of the averaged prediction (section 3.2.3)."""

from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class EnsembleLoss(DiversityTerm):
    """L_diversity = E_x loss(mean over z of the predictions T(x; G(z))), on the examples that all networks see.

    An ensemble gains most where its members err on different examples. For classification the term is the negative
    log-likelihood of the mean probabilities, in nats per example. Give it a weight of the size of λ.
    """

    needs = frozenset({"outputs", "labels", "task"})

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the loss, in the task's units."""
        assert inputs.outputs is not None
        assert inputs.labels is not None
        assert inputs.task is not None
        return inputs.task.loss(inputs.task.averaged(inputs.outputs), inputs.labels).mean()


def _build(options: NoOptions, estimator: EntropyEstimator) -> EnsembleLoss:
    return EnsembleLoss()


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="ensemble_loss",
            factory=_build,
            summary="the loss of the averaged prediction on shared examples",
            reference="section 3.2.3",
        )
    ]
