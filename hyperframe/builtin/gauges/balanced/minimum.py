"""The minimum of a posynomial, as a differentiable function of its coefficients."""

from typing import Any

import torch
from torch import Tensor

from hyperframe.builtin.gauges.balanced.posynomial import Posynomial

SWEEPS = 10
"""Rounds in which each label takes the factor that is best for it alone, damped."""

STEPS = 12
"""Newton steps at most, before the last two."""

PRODUCTS = 64
"""Products with the curvature at most, in one step."""

NEAR = 1e-5
"""The size of a step, and of a residual beside its right side, that will do before the last two steps square them."""

EXACT = 1e-14
"""The residual that will do in the last two steps."""


def find_minimum(norm: Posynomial, coefficients: Tensor, alive: Tensor) -> Tensor:
    """Find the logarithms of factors at which the norm is least, [batch, labels].

    The last two steps are differentiable, with the curvature held fixed. The first of them makes the first derivatives
    those of the minimum, in which a wrong curvature has no part where the gradient is zero; the second the second ones.

    Args:
        norm: the function.
        coefficients: log c, [batch, terms].
        alive: 1 for terms that count, 0 for others, [batch, terms]; each label has such terms on both sides, or none.
    """
    with torch.no_grad():
        u = _approach(norm, coefficients.detach(), alive)
    for _ in range(2):
        u = u - _step(norm, coefficients, alive, u, EXACT)
    return u


def _approach(norm: Posynomial, coefficients: Tensor, alive: Tensor) -> Tensor:
    """Go down to the minimum from factors that make all terms as equal as they can be, however far apart they are.

    There the variance over the terms of log c_t + 2 Σ_l a_tl u_l is least. No common factor of all weights counts.
    """
    u = _solve(norm, alive, -norm.gather(_centred(coefficients, alive)) / 2, NEAR, centred=True)
    for _ in range(SWEEPS):
        up, down = norm.sides(norm.values(coefficients, alive, u))
        some = (up > 0) & (down > 0)
        ratio = torch.where(some, down, 1.0) / torch.where(some, up, 1.0)
        u = u + ratio.log() / (4 * norm.width)
    for _ in range(STEPS):
        step = _step(norm, coefficients, alive, u, NEAR)
        size = step.abs().amax(1, keepdim=True)
        u = u - step / size.clamp(min=1)
        if _is_over(size <= NEAR):
            break
    return u


def _is_over(finished: Tensor) -> bool:
    """Whether all networks are finished; on a CUDA device nobody asks, since that would wait for it."""
    return finished.device.type == "cpu" and bool(finished.all())


def _step(norm: Posynomial, coefficients: Tensor, alive: Tensor, u: Tensor, precision: float) -> Tensor:
    """Return what Newton's method takes away from u: the gradient divided by the curvature."""
    values = norm.values(coefficients, alive, u)
    found: Tensor = _Solution.apply(values.detach(), norm.gather(values) / 2, norm, precision)
    return found


class _Solution(torch.autograd.Function):
    """Solve Aᵀ diag(v) A x = b for x: of values v [batch, terms], held fixed, and b [batch, labels]."""

    @staticmethod
    def forward(values: Tensor, right: Tensor, norm: Posynomial, precision: float) -> Tensor:
        return _solve(norm, values, right, precision)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Posynomial, float], output: Tensor) -> None:
        values, _, ctx.norm, ctx.precision = inputs
        ctx.save_for_backward(values)
        ctx.save_for_forward(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, _Solution.apply(*ctx.saved_tensors, gradient, ctx.norm, ctx.precision), None, None

    @staticmethod
    def jvp(ctx: Any, _values: None, tangent: Tensor, *_: None) -> Any:
        return _Solution.apply(*ctx.saved_tensors, tangent, ctx.norm, ctx.precision)


def _centred(x: Tensor, weights: Tensor) -> Tensor:
    """Return w (x − the mean of x with weights w) of each network, [batch, terms]."""
    total = weights.sum(1, keepdim=True)
    return weights * (x - (weights * x).sum(1, keepdim=True) / torch.where(total > 0, total, 1.0))


def _solve(norm: Posynomial, values: Tensor, right: Tensor, precision: float, *, centred: bool = False) -> Tensor:
    """Solve Aᵀ diag(v) A x = b by conjugate gradients, preconditioned by the diagonal.

    Where it is centred, A x is taken less its mean with weights v.
    """
    diagonal = norm.weigh(values)
    diagonal = torch.where(diagonal > 0, diagonal, 1.0)
    x, residual = torch.zeros_like(right), right
    scaled = residual / diagonal
    way, size = scaled, (residual * scaled).sum(1, keepdim=True)
    goal = precision**2 * size
    for _ in range(PRODUCTS):
        if _is_over(size <= goal):
            break
        moved = norm.exponents(way)
        product = norm.gather(_centred(moved, values) if centred else values * moved)
        curvature = (way * product).sum(1, keepdim=True)
        length = torch.where(curvature > 0, size / torch.where(curvature > 0, curvature, 1.0), 0.0)
        x, residual = x + length * way, residual - length * product
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum(1, keepdim=True)
        way = scaled + torch.where(before > 0, size / torch.where(before > 0, before, 1.0), 0.0) * way
    return x
