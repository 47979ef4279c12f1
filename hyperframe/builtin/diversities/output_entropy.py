"""The diversity term `output_entropy`: the negative entropy of the networks' outputs (Eq. 3)."""

from typing import Literal

import attrs
from torch import Tensor

from hyperframe import Component, hookimpl, option
from hyperframe.tasks.term_inputs import InputKind, OutputTerm, inputs_option, task_option
from hyperframe.types import DiversityInputs, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    of: Literal["predictions", "canonical"] = option(
        "predictions",
        "predictions: entropy of the task's predictions (probabilities); canonical: of its canonical outputs (logits)",
    )
    inputs: InputKind = inputs_option("examples")
    task: str | None = task_option()


class OutputEntropy(OutputTerm):
    """L_diversity = −H[concat_x T(x; G(z))], estimated from the batch of networks (Eq. 3).

    Each network is one sample: its outputs on the inputs that all networks see, one after the other. Symmetries do
    not change outputs, so no gauge is needed. The dimension is that of z, or the number of free outputs where that is
    less: probabilities of n classes are n − 1 free numbers.
    """

    needs = frozenset({"outputs", "task", "rng"})

    def __init__(self, options: Options, estimator: EntropyEstimator) -> None:
        super().__init__(options.inputs)
        self.options = options
        self.minimum_networks = estimator.minimum_samples
        self._estimator = estimator

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the negative entropy, in nats."""
        assert inputs.outputs is not None
        assert inputs.task is not None
        meaning = inputs.task.predictions if self.options.of == "predictions" else inputs.task.canonical_outputs
        rows = meaning(inputs.outputs).flatten(1)
        fixed = rows.shape[1] // inputs.outputs.shape[2] if inputs.task.shift_invariant else 0
        dimension = max(1, min(inputs.dimension, rows.shape[1] - fixed))
        return -self._estimator(rows, dimension, inputs.rng)


def _build(options: Options, estimator: EntropyEstimator) -> OutputEntropy:
    return OutputEntropy(options, estimator)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="output_entropy",
            factory=_build,
            options=Options,
            summary="the negative entropy of the outputs on shared inputs",
            reference="Eq. 3",
        )
    ]
