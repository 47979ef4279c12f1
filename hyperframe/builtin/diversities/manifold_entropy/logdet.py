"""Logarithms of determinants of JᵀJ: exact ones from J, and estimates by random probes from products with J alone."""

from collections.abc import Callable

import attrs
import torch
from torch import Tensor

FLOOR = 64.0
"""Singular values below this many rounding errors of the largest one are raised to it."""


def exact_logdet(jacobian: Tensor) -> Tensor:
    """Return log det(JᵀJ) of each J, differentiable: [networks, rows, columns] with rows ≥ columns give [networks].

    JᵀJ is computed in double precision. Singular values of J below 64 rounding errors of the largest one (for J in
    double precision below 1e-7 of it, since JᵀJ has their squares) are raised to this floor, with gradient zero, since
    anything smaller in J is noise. Where J is ill-conditioned the value is therefore an upper bound.

    Example:
        >>> round(float(exact_logdet(2 * torch.eye(3)[None]).exp()))
        64
    """
    wide = jacobian.double()
    values = torch.linalg.eigvalsh(wide.mT @ wide)
    rounding = FLOOR * torch.finfo(torch.float64).eps + (FLOOR * torch.finfo(jacobian.dtype).eps) ** 2
    floor = (rounding * values.detach()[:, -1:]).clamp(min=torch.finfo(jacobian.dtype).tiny)
    return torch.where(values > floor, values, floor).log().sum(1).to(jacobian.dtype)


@attrs.frozen(kw_only=True, eq=False)
class Probed:
    """Estimates from one probe v for M + sI, where s is a part of the largest eigenvalue of M.

    Attributes:
        logdet: an estimate of log det(M + sI) for each network, [networks], without a graph.
        solution: an approximation of (M + sI)⁻¹v, [networks, columns]. The derivative tr((M + sI)⁻¹ dM), with s held
            fixed, is the mean of solutionᵀ dM v over probes.
    """

    logdet: Tensor
    solution: Tensor


@torch.no_grad()
def probed_logdet(product: Callable[[Tensor], Tensor], probe: Tensor, steps: int, damping: float) -> Probed:
    """Estimate log det(M + sI) for each network by Lanczos' method from one random probe, s = damping · ‖M‖.

    vᵀ log(M + sI) v is the Gauss quadrature of Lanczos' tridiagonal matrix, exact when `steps` reaches the number of
    columns. Its mean over probes with independent entries ±1 is tr log = log det. The condition number of M + sI is at
    most 1 + 1 / damping: about as many steps as the root of this are enough, and the variance over probes is bounded.
    Without damping neither holds for the Jacobians of generators, which are ill-conditioned
    (docs/results/entropies.md).

    Args:
        product: maps v [networks, columns] to M v, for symmetric positive M.
        probe: v, entries ±1, [networks, columns].
        steps: of Lanczos' method; at most as many as columns are done.
        damping: s as a part of the largest eigenvalue that the steps find.

    References: S. Ubaru, J. Chen, Y. Saad (2017), Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature.

    Example:
        >>> scales = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
        >>> probed = probed_logdet(lambda v: scales * v, torch.ones_like(scales), steps=3, damping=1e-12)
        >>> torch.allclose(probed.logdet.exp(), scales.prod(1)), torch.allclose(probed.solution, 1 / scales)
        (True, True)
    """
    norm = torch.linalg.vector_norm(probe, dim=1, keepdim=True)
    basis = [probe / norm]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for step in range(min(steps, probe.shape[1])):
        moved = product(basis[-1])
        diagonal.append((moved * basis[-1]).sum(1))
        known = torch.stack(basis, 1)
        for _ in range(2):  # the second pass removes what rounding left of the earlier vectors
            moved = moved - ((known @ moved[:, :, None]).mT @ known)[:, 0]
        length = torch.linalg.vector_norm(moved, dim=1)
        if step + 1 < min(steps, probe.shape[1]):
            beside.append(length)
            basis.append(moved / length.clamp(min=torch.finfo(probe.dtype).tiny)[:, None])
    matrix = torch.diag_embed(torch.stack(diagonal, 1))
    if beside:
        off = torch.diag_embed(torch.stack(beside, 1), offset=1)
        matrix = matrix + off + off.mT
    values, vectors = torch.linalg.eigh(matrix.double())
    largest = values[:, -1:].clamp(min=torch.finfo(probe.dtype).tiny)
    values = values.clamp(min=0) + damping * largest  # below zero by rounding only
    first = vectors[:, 0]
    logdet = norm[:, 0].double().square() * (first.square() * values.log()).sum(1)
    inside = (vectors * (first / values)[:, None]).sum(2).to(probe.dtype)
    solution = norm * (torch.stack(basis, 2) @ inside[:, :, None])[:, :, 0]
    return Probed(logdet=logdet.to(probe.dtype), solution=solution)
