"""The diversity term `log_determinant`: the networks of a batch as one draw of a determinantal point process."""

import attrs
import torch
from torch import Tensor

import hyperframe as hf

TINY = 1e-100
"""The smallest number that squares are divided by, for weights that are all zero."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the term."""

    bandwidth: float = hf.option(1.0, "the kernel's width relative to the spread of the batch", above=0)
    jitter: float = hf.option(1e-4, "number added to the diagonal of the kernel matrix", minimum=1e-9)


class LogDeterminant(hf.types.DiversityTerm):
    """L_diversity = −log det(K + jitter · I), K_ij = exp(−|θ_i − θ_j|² / (2 h² m)) of the gauged weights θ.

    h is the bandwidth, m the mean of |θ_i − mean θ|², so that a common factor of all θ changes nothing; gradients pass
    through m. The rounding ε of the weights' dtype times the mean of |θ_i|² is added to m, so that copies that differ
    by rounding count as copies.

    K has ones on its diagonal, so of all batches copies of one network have the largest value,
    −(N − 1) log jitter − log(N + jitter) for N networks; it is finite, with a gradient of zero. The value is smallest,
    −N log(1 + jitter), where K is the identity.

    Distances and the matrix are in float64 whatever the weights' dtype, since the jitter is small beside the matrix.

    Shapes: `inputs.flat` [batch, weights]; K [batch, batch]; the value is a scalar.

    References: A. Kulesza, B. Taskar (2012), Determinantal point processes for machine learning, Foundations and Trends
    in Machine Learning 5(2–3): a set of examples has a probability proportional to the determinant of their kernel
    matrix.

    Example:
        >>> term = LogDeterminant(Options(bandwidth=0.1))
        >>> round(float(term(hf.types.DiversityInputs(flat=torch.eye(3)))), 4)    # −3 log 1.0001
        -0.0003
        >>> round(float(term(hf.types.DiversityInputs(flat=torch.ones(3, 3)))), 2)    # −2 log 1e-4 − log 3.0001
        17.32
    """

    needs = frozenset({"flat"})
    minimum_networks = 2

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, inputs: hf.types.DiversityInputs) -> Tensor:
        """Return minus the log-determinant of the batch's kernel matrix."""
        assert inputs.flat is not None
        matrix = self.kernel(inputs.flat)
        jitter = self.options.jitter * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        value: Tensor = torch.linalg.slogdet(matrix + jitter).logabsdet
        return -value.to(inputs.flat.dtype)

    def kernel(self, flat: Tensor) -> Tensor:
        """Return K for rows [batch, weights]: float64 [batch, batch]."""
        rows = flat.double()
        centred = rows - rows.mean(0)
        products = centred @ centred.T
        squares = products.diagonal()
        distances = squares[:, None] + squares - 2 * products
        spread = squares.mean() + torch.finfo(flat.dtype).eps * rows.square().sum(1).mean()
        # Divided by h twice, since its square might underflow.
        return (-0.5 * distances / spread.clamp(min=TINY) / self.options.bandwidth / self.options.bandwidth).exp()


def build(options: Options, estimator: hf.types.EntropyEstimator) -> LogDeterminant:
    """Make the term; it does not use the estimator."""
    return LogDeterminant(options)


@hf.hookimpl
def hyperframe_diversity_terms() -> list[hf.Component]:
    """Register the term."""
    return [
        hf.Component(
            name="log_determinant",
            factory=build,
            options=Options,
            summary="minus the log-determinant of a Gaussian kernel matrix of the weights after the gauge",
            reference="Kulesza and Taskar (2012), Determinantal point processes for machine learning",
        )
    ]
