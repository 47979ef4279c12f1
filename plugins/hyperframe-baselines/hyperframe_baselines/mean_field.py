"""The generator `mean_field`: a Gaussian over all weights with a mean and a deviation of each weight's own."""

import math

import attrs
import torch
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.networks import initial_weights
from hyperframe.targets import TargetSpec, flatten, unflatten
from hyperframe_baselines.gaussian import kl_to_prior, rho_of, std_of


@attrs.frozen(kw_only=True)
class Options:
    """Options of the generator."""

    prior_std: float = option(1.0, "standard deviation of the prior N(0, prior_std²) of each weight", above=0)
    initial_std: float = option(0.01, "standard deviation of each weight at the start", above=0)


class MeanField(Generator):
    """θ = μ + σ ⊙ z with z ~ N(0, I), σ = log(1 + e^ρ); μ and ρ are the parameters, one of each for a weight.

    The penalty is KL(q ‖ p) with the prior p = N(0, prior_std² I), in closed form. With `objective.lambda` = n, the
    number of training examples, no diversity term, and a loss that is a negative log-likelihood, the loss is the
    negative evidence lower bound; with another λ the posterior is that at the temperature n / λ, with the prior to the
    power n / λ as well. The expectation over q is a mean over the networks of a step, each with noise of its own.

    References: A. Graves (2011), Practical Variational Inference for Neural Networks; C. Blundell, J. Cornebise,
    K. Kavukcuoglu, D. Wierstra (2015), Weight Uncertainty in Neural Networks.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__(spec, dimension=spec.num_weights)
        self.options = options
        self.mean = nn.Parameter(flatten(spec, initial_weights(spec, 1))[0])
        self.rho = nn.Parameter(torch.full((spec.num_weights,), rho_of(options.initial_std)))

    @property
    def std(self) -> Tensor:
        """The standard deviation of each weight, [weights]."""
        return std_of(self.rho)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the noise of each weight, [count, weights]."""
        return torch.randn(count, self.dimension, generator=rng, device=rng.device, dtype=self.mean.dtype)

    def forward(self, z: Tensor) -> Weights:
        """Turn noise into weights."""
        return unflatten(self.spec, self.mean + self.std * z)

    def penalty(self, z: Tensor, weights: Weights) -> Tensor:
        """KL(q ‖ prior) in nats; it does not depend on what was drawn."""
        return kl_to_prior(self.mean, self.std, 0.0, self.options.prior_std)

    def latent_entropy(self) -> float:
        """n/2 log(2πe) nats for n weights."""
        return self.dimension / 2 * math.log(2 * math.pi * math.e)

    def is_injective(self) -> bool:
        """It is, since no deviation is zero."""
        return True


def _build(options: Options, spec: TargetSpec, task: Task) -> MeanField:
    return MeanField(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="mean_field",
            factory=_build,
            options=Options,
            summary="a Gaussian over all weights, each with a mean and a deviation, and its divergence from a prior",
            reference="C. Blundell et al. (2015), Weight Uncertainty in Neural Networks",
        )
    ]
