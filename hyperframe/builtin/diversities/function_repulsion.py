"""The diversity term `function_repulsion`: networks drive each other's predictions apart."""

from typing import Literal

import attrs
import torch
from torch import Tensor

from hyperframe import Component, hookimpl, option
from hyperframe.experiment.pairs import median_bandwidth, once_each, squared_distances
from hyperframe.tasks.term_inputs import InputKind, OutputTerm, inputs_option, task_option
from hyperframe.types import DiversityInputs, EntropyEstimator


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    form: Literal["kernel", "determinant"] = option(
        "kernel", "kernel: by the density of networks around each one; determinant: by how many directions they span"
    )
    deviation: float = option(
        0.1, "determinant: σ, the root mean square over the inputs from which on differences count", above=0
    )
    inputs: InputKind = inputs_option("mixtures")
    task: str | None = task_option()


class FunctionRepulsion(OutputTerm):
    """Repulsion between f_i, a network's predictions on the inputs, such as probabilities, in one of two forms.

    kernel: L_diversity = (1/N) Σ_i log Σ_j exp(−‖f_i − f_j‖² / h), the mean logarithm of a kernel density at the
    networks themselves, between 0 and log N; h = median_{i≠j} ‖f_i − f_j‖² / log(N + 1). No gradient passes through h,
    so that the gradient is not that of the value, which stays as it is when all distances grow alike. Networks that
    coincide do not drive each other apart.

    determinant: L_diversity = −½ log det(I + F Fᵀ / σ²), F the centred rows f_i − mean_j f_j over the root of the
    number of inputs, σ the option `deviation`: up to a constant the negative entropy of a Gaussian with the covariance
    F Fᵀ + σ² I. Unlike distances it sees the rank: doubling large differences along one direction gains log 2, and
    along N − 1 directions, as many as N networks can span, N − 1 times that.

    By default the inputs are mixtures of two training examples, for which no labels are given.

    References: F. D'Angelo, V. Fortuin (2021), Repulsive Deep Ensembles are Bayesian, for the kernel.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options.inputs)
        self.options = options
        self.own_gradient = options.form == "kernel"

    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """Return the repulsion's potential, a number without a unit."""
        assert inputs.outputs is not None
        assert inputs.task is not None
        examples = inputs.outputs.shape[1]
        rows = inputs.task.predictions(inputs.outputs).flatten(1) / examples**0.5
        if self.options.form == "kernel":
            return _log_density(rows)
        return -_half_log_determinant((rows - rows.mean(0)) / self.options.deviation)


def _log_density(rows: Tensor) -> Tensor:
    """Return the mean over rows of the logarithm of a row's kernels with all rows, summed."""
    parts = squared_distances(rows)
    bandwidth = median_bandwidth(once_each(parts), rows)
    density = torch.ones_like(parts[0])  # of each row with itself
    for step, squares in enumerate(parts, 1):
        kernel = (-squares / bandwidth).exp()
        density = density + kernel
        if 2 * step < len(rows):
            density = density + kernel.roll(-step)
    return density.log().mean()


def _half_log_determinant(rows: Tensor) -> Tensor:
    """Return ½ log det(I + F Fᵀ) by the Cholesky factor; nothing waits for the device."""
    matrix = rows @ rows.mT + torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    factor: Tensor = torch.linalg.cholesky_ex(matrix).L
    return factor.diagonal().log().sum()


def _build(options: Options, estimator: EntropyEstimator) -> FunctionRepulsion:
    return FunctionRepulsion(options)


@hookimpl
def hyperframe_diversity_terms() -> list[Component]:
    """Register the term."""
    return [
        Component(
            name="function_repulsion",
            factory=_build,
            options=Options,
            summary="networks drive each other's predictions apart, off the training examples",
            reference="D'Angelo and Fortuin 2021",
        )
    ]
