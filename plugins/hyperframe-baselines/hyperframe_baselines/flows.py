"""Masked RealNVP flows with log-determinants, and normal numbers that a flow turns into others, with their density."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedStep(nn.Module):
    """One step of a masked RealNVP, which keeps the entries with m = 1 and moves the others by a function of these.

    h = tanh(f(m ⊙ z)), σ = sigmoid(k(h)), μ = g(h), with f, g and k linear;
    z' = m ⊙ z + (1 − m) ⊙ (σ ⊙ z + (1 − σ) ⊙ μ), log |det ∂z'/∂z| = Σ (1 − m) log σ.

    Args:
        mask: m, boolean [size]; it is a constant of the step.
        hidden: entries of h.
        centre: [size], where g starts, so that what lies there stays there at first.

    References: L. Dinh, J. Sohl-Dickstein, S. Bengio (2017), Density Estimation using Real NVP; the form with gates is
    that of C. Louizos, M. Welling (2017), Multiplicative Normalizing Flows.
    """

    GATE = 2.0
    """Where k starts: a gate of 0.88, near the identity."""

    def __init__(self, mask: Tensor, hidden: int, centre: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.hidden = nn.Linear(len(mask), hidden)
        self.shift = nn.Linear(hidden, len(mask))
        self.gate = nn.Linear(hidden, len(mask))
        with torch.no_grad():
            self.shift.bias.copy_(centre)
            self.gate.bias.fill_(self.GATE)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return z' [batch, size] and the log-determinant [batch]."""
        mask = self.get_buffer("mask")
        shift, gate = self._move(z)
        moved = torch.lerp(shift, z, gate.sigmoid())
        return torch.where(mask, z, moved), F.logsigmoid(gate).masked_fill(mask, 0.0).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """Return the z whose z' is given, [batch, size]."""
        shift, gate = self._move(z)
        return torch.where(self.get_buffer("mask"), z, shift + (z - shift) / gate.sigmoid())

    def _move(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return g(h) and k(h), each [batch, size]; the same for z and z'."""
        hidden = self.hidden(z * self.get_buffer("mask")).tanh()
        return self.shift(hidden), self.gate(hidden)


class MaskedFlow(nn.Module):
    """Steps of a masked RealNVP one after the other; without steps the identity.

    The masks are drawn once, with torch's global random numbers, and stay as they are: z' is a function of z. Each has
    half the entries, and every second one is the complement of the one before, so that two steps move all entries.

    Args:
        centre: [size], see `MaskedStep`.
        steps: how many.
        hidden: entries of h in each step.
    """

    def __init__(self, centre: Tensor, steps: int, hidden: int) -> None:
        super().__init__()
        masks: list[Tensor] = []
        for step in range(steps):
            masks.append(~masks[-1] if step % 2 else torch.randperm(len(centre)) < len(centre) // 2)
        self.steps = nn.ModuleList(MaskedStep(mask, hidden, centre) for mask in masks)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return z' [batch, size] and log |det ∂z'/∂z| [batch]."""
        total = z.new_zeros(len(z))
        for step in self.steps:
            z, log_determinant = step(z)
            total = total + log_determinant
        return z, total

    def inverse(self, z: Tensor) -> Tensor:
        """Return the z whose z' is given, [batch, size]."""
        for step in reversed(self.steps):
            z = cast(MaskedStep, step).inverse(z)
        return z


class FlowDensity(nn.Module):
    """z_T = flow(μ + σ ⊙ ε) with ε ~ N(0, I), and log q(z_T) by the change of variables.

    log q(z_T) = log N(ε; 0, I) − Σ log σ − log |det ∂z_T/∂z_0|.

    Args:
        mean: where μ starts, [size].
        log_variance: where log σ² starts, of all entries.
        steps: of the flow.
        hidden: entries of a step's hidden layer.
    """

    def __init__(self, mean: Tensor, log_variance: float, steps: int, hidden: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean.clone())
        self.log_variance = nn.Parameter(torch.full_like(mean, log_variance))
        self.flow = MaskedFlow(mean, steps, hidden)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Turn ε [batch, size] into z_T [batch, size] and log q(z_T) [batch]."""
        z, log_determinant = self.flow(self.mean + (self.log_variance / 2).exp() * noise)
        return z, normal_log_density(noise) - self.log_variance.sum() / 2 - log_determinant


def normal_log_density(x: Tensor, mean: Tensor | float = 0.0, log_variance: Tensor | float = 0.0) -> Tensor:
    """Log-density of independent normal numbers x [batch, size] in nats, summed over the entries: [batch].

    Example:
        >>> normal_log_density(torch.ones(1, 2), mean=1.0)    # −log 2π
        tensor([-1.8379])
    """
    if not isinstance(log_variance, Tensor):
        log_variance = x.new_full((), log_variance)
    return -((x - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi)).sum(1) / 2
