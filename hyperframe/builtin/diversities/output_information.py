"""The diversity term `output_information`: the mutual information between the network and its answer."""

import math

import attrs
from torch import Tensor

from hyperframe import Component, hookimpl
from hyperframe.tasks.calibration import entropy_of_logits, mutual_information
from hyperframe.tasks.classification import class_logits
from hyperframe.tasks.term_inputs import InputKind, OutputTerm, inputs_option, task_option
from hyperframe.types import DiversityInputs, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    inputs: InputKind = inputs_option("shuffled")
    task: str | None = task_option()


class OutputInformation(OutputTerm):
    """L_diversity = −mean over x of (H[p̄(x)] − (1/N) Σ_i H[p_i(x)]), p̄ = (1/N) Σ_i p_i, between −log classes and 0.

    In brackets stands the mutual information between the network and its answer, in nats: it is large where each
    network is sure and they differ, and zero where all have the same probabilities. By default x are examples with
    shuffled pixels, where no answer is right, so that networks can differ without errors. Its weight is best set
    relative to λ: a tenth of it is a good start.

    References: N. Houlsby, F. Huszár, Z. Ghahramani, M. Lengyel (2011), Bayesian Active Learning; S. Jain, G. Liu,
        J. Mueller, D. Gifford (2020), Maximizing Overall Diversity for Improved Uncertainty Estimates in Deep
        Ensembles; M. Pagliardini, M. Jaggi, F. Fleuret, S. P. Karimireddy (2022), Agree to Disagree.
    """

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative mean mutual information, in nats.

        Raises:
            ConfigError: the task has no classes.
        """
        assert inputs.outputs is not None
        logits = class_logits(inputs.task, inputs.outputs, "diversity 'output_information'")
        total = entropy_of_logits(logits.log_softmax(-1).logsumexp(0) - math.log(len(logits)))
        return -mutual_information(total, entropy_of_logits(logits).mean(0)).mean()


def _build(options: Options, estimator: EntropyEstimator) -> OutputInformation:
    return OutputInformation(options.inputs)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="output_information",
            factory=_build,
            options=Options,
            summary="the negative mutual information between network and answer, off the training examples",
            reference="Houlsby et al. 2011; Jain et al. 2020",
        )
    ]
