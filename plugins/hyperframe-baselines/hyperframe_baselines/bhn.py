"""The generator `bhn`: Bayesian hypernetworks, a normalizing flow over the scales of weight-normalised filters."""

import math

import attrs
import torch
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.errors import ConfigError
from hyperframe.networks import LatentOptions, initial_weights
from hyperframe.targets import LayerSpec, TargetSpec
from hyperframe_baselines.flows import FlowDensity, normal_log_density


@attrs.frozen(kw_only=True)
class Options:
    """Options of the Bayesian hypernetwork."""

    prior_std: float = option(1.0, "standard deviation of the prior of every scale", above=0)
    scale_log_variance: float = option(-4.6, "log-variance of every scale in front of the flow, at the start")
    flow_steps: int = option(8, "steps of the flow over all scales", minimum=0)
    flow_hidden: int = option(50, "hidden entries of each step", minimum=1)


class BayesianHypernetwork(Generator):
    """Kernels W_i = g_i v_i / ‖v_i‖ of each filter i, with all scales g of the target drawn by one flow from z.

    The directions v, biases and normalisations are points: parameters without a distribution or a prior. z is normal,
    with an entry for each filter that has a kernel. The penalty is KL(q(g) ‖ N(0, prior_std²)) at the networks of a
    step: the mean of log q(g) − log p(g). With λ = n training examples and no diversity term the loss is the negative
    evidence lower bound of g given the rest; with another λ it is that of a posterior at the temperature n / λ.

    Raises:
        ConfigError: the target has no kernels.

    References: D. Krueger, C.-W. Huang, R. Islam, R. Turner, A. Lacoste, A. Courville (2017), Bayesian Hypernetworks;
    T. Salimans, D. Kingma (2016), Weight Normalization.
    """

    latent_distribution = "normal"

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        filters = [layer.filters if layer.fan_in else 0 for layer in spec.layers]
        if not sum(filters):
            raise ConfigError(f"generator 'bhn' draws the scales of kernels, and target '{spec.name}' has no kernel")
        super().__init__(spec, dimension=sum(filters))
        self._filters = filters
        self.options = options
        start = initial_weights(spec, 1)
        self.layers = nn.ParameterList(nn.Parameter(start[layer.name][0]) for layer in spec.layers)
        norms = torch.cat([_norms(layer, start[layer.name][0]) for layer in spec.layers])
        self.scales = FlowDensity(norms, options.scale_log_variance, options.flow_steps, options.flow_hidden)
        self.noise = LatentOptions(latent=self.dimension, latent_distribution="normal")

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the noise of all scales, [count, scales]."""
        return self.noise.draw_latent(count, rng, self.scales.mean.dtype)

    def forward(self, z: Tensor) -> Weights:
        """Turn noise [batch, scales] into weights."""
        scales, _ = self.scales(z)
        parts = zip(self.spec.layers, self.layers, scales.split(self._filters, 1), strict=True)
        return {layer.name: _scaled(layer, filters, own) for layer, filters, own in parts}

    def penalty(self, z: Tensor, weights: Weights) -> Tensor:
        """Return log q(g) − log p(g) in nats, averaged over the networks."""
        scales, log_q = self.scales(z)
        log_p = normal_log_density(scales, log_variance=2 * math.log(self.options.prior_std))
        divergences: Tensor = log_q - log_p
        return divergences.mean()

    def latent_entropy(self) -> float:
        """Return the entropy of z in nats."""
        return self.noise.entropy

    def is_injective(self) -> bool:
        """Different z give different scales, and these different weights."""
        return True


def _kernel(layer: LayerSpec) -> slice:
    return layer.columns.get("kernel", slice(0))


def _norms(layer: LayerSpec, filters: Tensor) -> Tensor:
    """Return the norms of the kernels of filters [filters, filter_size]: [filters], or none without a kernel."""
    return filters[:, _kernel(layer)].norm(dim=1) if layer.fan_in else filters.new_zeros(0)


def _scaled(layer: LayerSpec, filters: Tensor, scales: Tensor) -> Tensor:
    """Give the kernels of filters [filters, filter_size] the norms |g|, for scales g [batch, filters].

    Returns:
        [batch, filters, filter_size], with all other columns as they are.
    """
    weights = filters.repeat(len(scales), 1, 1)
    if layer.fan_in:
        weights[:, :, _kernel(layer)] *= (scales / _norms(layer, filters))[:, :, None]
    return weights


def _build(options: Options, spec: TargetSpec, task: Task) -> BayesianHypernetwork:
    return BayesianHypernetwork(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="bhn",
            factory=_build,
            options=Options,
            summary="a normalizing flow over the scales of weight-normalised filters; the rest are points",
            reference="D. Krueger et al. (2017), Bayesian Hypernetworks",
        )
    ]
