"""The diversity term `disagreement`: how often two networks disagree, by their probabilities."""

import attrs
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.tasks.classification import class_logits
from hyperframe.tasks.term_inputs import InputKind, OutputTerm, inputs_option, task_option
from hyperframe.types import DiversityInputs, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    inputs: InputKind = inputs_option("examples")
    task: str | None = task_option()


class Disagreement(OutputTerm):
    """L_diversity = −E_x mean over pairs i ≠ j of (1 − p_i(x)·p_j(x)), on inputs that all networks see.

    1 − p_i·p_j is the probability that two answers, drawn from the networks' probabilities, differ. Where an example
    has several answers, such as a class for each pixel, the mean is over all of them.
    """

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative probability that two networks disagree.

        Raises:
            ConfigError: the task has no classes.
        """
        assert inputs.outputs is not None
        probabilities = class_logits(inputs.task, inputs.outputs, "diversity 'disagreement'").softmax(-1)
        count = len(probabilities)
        together = probabilities.sum(0).square().sum(-1) - probabilities.square().sum(-1).sum(0)
        return (together / (count * (count - 1))).mean() - 1


def _build(options: Options, estimator: EntropyEstimator) -> Disagreement:
    return Disagreement(options.inputs)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="disagreement",
            factory=_build,
            options=Options,
            summary="how often two networks disagree, by their probabilities on shared inputs",
            reference="section 3.2.3",
        )
    ]
