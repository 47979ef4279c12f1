"""Logarithms of determinants of JᵀJ: exactly from J, and by random probes from products with J alone."""

from collections.abc import Callable

import attrs
import torch
from torch import Tensor

FLOOR = 64.0
"""Singular values below this many rounding errors of the largest count as that."""


def exact_logdet(jacobian: Tensor) -> Tensor:
    """Log det(JᵀJ) of each J: [networks, rows, columns] with rows ≥ columns give [networks].

    JᵀJ is put together in double precision, and differentiable. Singular values of J below rounding count as a floor
    relative to the largest one, with gradient zero.

    Example:
        >>> round(float(exact_logdet(2 * torch.eye(3)[None]).exp()))
        64
    """
    wide = jacobian.double()
    values = torch.linalg.eigvalsh(wide.mT @ wide)
    floor = _floor(values.detach()[:, -1:], jacobian.dtype)
    return torch.where(values > floor, values, floor).log().sum(1).to(jacobian.dtype)


@attrs.frozen(kw_only=True, eq=False)
class Probed:
    """What probes tell of M = JᵀJ.

    Attributes:
        logdet: an estimate of log det M for each network, [networks], without a graph.
        probe: v, [networks, columns].
        solution: an approximation of M⁻¹v, [networks, columns]. tr(M⁻¹ dM) is the mean of (M⁻¹v)ᵀ dM v over probes.
    """

    logdet: Tensor
    probe: Tensor
    solution: Tensor


@torch.no_grad()
def probed_logdet(product: Callable[[Tensor], Tensor], probe: Tensor, steps: int) -> Probed:
    """Estimate log det M for each network by Lanczos' method from one random probe.

    vᵀ log(M) v is the Gauss quadrature of Lanczos' tridiagonal matrix, exact when `steps` reaches the number of
    columns. Its mean over probes with independent entries ±1 is tr log M = log det M.

    Args:
        product: v [networks, columns] to M v, for symmetric positive M.
        probe: v, entries ±1, [networks, columns].
        steps: of Lanczos' method; no more than columns are done.

    References: S. Ubaru, J. Chen, Y. Saad (2017), Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature.

    Example:
        >>> scales = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
        >>> probed = probed_logdet(lambda v: scales * v, torch.ones_like(scales), steps=3)
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
        for _ in range(2):  # once more takes away what rounding left of the earlier vectors
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
    values = torch.maximum(values, _floor(values[:, -1:], probe.dtype))
    first = vectors[:, 0]
    logdet = norm[:, 0].double().square() * (first.square() * values.log()).sum(1)
    inside = (vectors * (first / values)[:, None]).sum(2).to(probe.dtype)
    solution = norm * (torch.stack(basis, 2) @ inside[:, :, None])[:, :, 0]
    return Probed(logdet=logdet.to(probe.dtype), probe=probe, solution=solution)


def _floor(largest: Tensor, dtype: torch.dtype) -> Tensor:
    """The least eigenvalue of JᵀJ that rounding of J in a precision leaves meaningful."""
    return (largest * (FLOOR * torch.finfo(dtype).eps) ** 2).clamp(min=torch.finfo(dtype).tiny)
