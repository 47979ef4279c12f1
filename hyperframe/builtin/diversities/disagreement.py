"""The diversity term `disagreement`: how often two networks disagree, by their probabilities."""

from torch import Tensor

from hyperframe import ClassificationTask, Component, hookimpl
from hyperframe.errors import ConfigError
from hyperframe.types import DiversityInputs, DiversityTerm, EntropyEstimator, NoOptions


class Disagreement(DiversityTerm):
    """L_diversity = −E_x mean over pairs i ≠ j of (1 − p_i(x)·p_j(x)), on the examples that all networks see.

    1 − p_i·p_j is the probability that two answers, drawn from the networks' probabilities, differ.
    """

    needs = frozenset({"outputs", "task"})
    minimum_networks = 2

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative probability that two networks disagree.

        Raises:
            ConfigError: the task is no classification.
        """
        assert inputs.outputs is not None
        assert inputs.task is not None
        if not isinstance(inputs.task, ClassificationTask):
            name = inputs.task.name
            raise ConfigError(
                f"diversity 'disagreement' needs probabilities of classes, which task '{name}' does not have"
            )
        probabilities = inputs.task.predictions(inputs.outputs)
        count = len(probabilities)
        together = probabilities.sum(0).square().sum(-1) - probabilities.square().sum(-1).sum(0)
        return (together / (count * (count - 1))).mean() - 1


def _build(options: NoOptions, estimator: EntropyEstimator) -> Disagreement:
    return Disagreement()


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="disagreement",
            factory=_build,
            summary="how often two networks disagree, by their probabilities on shared examples",
            reference="section 3.2.3",
        )
    ]
