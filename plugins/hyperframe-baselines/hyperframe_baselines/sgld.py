"""The generator `sgld`: Langevin dynamics with the gradients of batches, whose states are draws of the posterior."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import torch

from hyperframe import Component, Task, hookimpl, option
from hyperframe.networks import TrainingOptions
from hyperframe.targets import TargetSpec
from hyperframe_baselines.chains import BurntInChains, BurntInOptions


class Langevin(torch.optim.Optimizer):
    """θ ← θ − ε ∇U(θ) + √(2 ε T) ξ with ξ standard normal, for the U of each of several chains.

    U is `networks` times a chain's part of a loss that is the mean over chains. As ε goes to 0, θ is distributed as
    exp(−U / T). In M. Welling, Y. W. Teh (2011) ε is written ε / 2. It has no state; ξ is of torch's global random
    numbers.

    Args:
        groups: the parameters.
        rate: ε, of which every group has its own as `lr`.
        networks: over how many chains the loss is a mean.
        temperature: T, of which every group has its own as `temperature`.
    """

    found_inf: torch.Tensor | None = None

    def __init__(self, groups: list[dict[str, Any]], rate: float, *, networks: int, temperature: float) -> None:
        super().__init__(groups, {"lr": rate, "temperature": temperature})
        self.networks = networks

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; none where `found_inf` is 1."""
        for group in self.param_groups:
            rate, temperature = group["lr"], group["temperature"]
            for value in group["params"]:
                if value.grad is None:
                    continue
                moved = value - rate * self.networks * value.grad
                if temperature:
                    moved += math.sqrt(2 * rate * temperature) * torch.randn_like(value)
                value.copy_(moved if self.found_inf is None else torch.where(self.found_inf == 1, value, moved))


@attrs.frozen(kw_only=True)
class Options(BurntInOptions):
    """Options of stochastic gradient Langevin dynamics."""

    temperature: float = option(1.0, "T of exp(−U / T); 1: the posterior itself", minimum=0)


class Sgld(BurntInChains):
    """Chains that draw from the posterior, up to the error of their step and of the batches' gradients.

    The potential U is what the objective makes of one network. With `objective: vi` it is n · (mean loss) − log prior
    with n training examples, the posterior under that prior; with `trade_off` it is λ · (mean loss), where λ = n is the
    posterior under a flat prior, and other λ have the likelihood to the power λ / n. Diversity terms make it something
    else. The rate is ε; where it does not fall to zero, its error, and that of the batches, stay.

    References: M. Welling, Y. W. Teh (2011), Bayesian Learning via Stochastic Gradient Langevin Dynamics.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__("sgld", options, spec)
        self.options = options

    def optimizer(self, groups: list[dict[str, Any]], training: TrainingOptions) -> torch.optim.Optimizer:
        """Langevin dynamics."""
        return Langevin(groups, training.rate, networks=self.chains, temperature=self.options.temperature)


def _build(options: Options, spec: TargetSpec, task: Task) -> Sgld:
    return Sgld(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="sgld",
            factory=_build,
            options=Options,
            summary="stochastic gradient Langevin dynamics: states of noisy chains, collected along one training",
            reference="M. Welling, Y. W. Teh (2011), Bayesian Learning via Stochastic Gradient Langevin Dynamics",
        )
    ]
