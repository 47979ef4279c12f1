"""The generator `mnfg`: normal weights whose means are multiplied by factors that a normalizing flow draws."""

import math
from collections.abc import Iterator
from typing import cast

import attrs
import torch
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.networks import LatentOptions, initial_mean, initial_weights
from hyperframe.targets import LayerSpec, TargetSpec
from hyperframe_baselines.flows import FlowDensity, MaskedFlow, normal_log_density


@attrs.frozen(kw_only=True)
class Options:
    """Options of the multiplicative normalizing flows."""

    prior_std: float = option(1.0, "standard deviation of the prior of every weight", above=0)
    weight_log_variance: float = option(-9.0, "log-variance of every weight around its mean, at the start")
    factor_log_variance: float = option(-2.3, "log-variance of every factor in front of the flow, at the start")
    flow_steps: int = option(2, "steps of the flow that draws a layer's factors", minimum=0)
    auxiliary_steps: int = option(2, "steps of the flow of the auxiliary posterior r", minimum=0)
    flow_hidden: int = option(50, "hidden entries of each step; those of r have twice as many", minimum=1)


class MultiplicativeNormal(nn.Module):
    """The weights of a layer: W_ij = z_i μ_ij + σ_ij ε_ij in its kernel, and μ_ij + σ_ij ε_ij in biases and norms.

    i is a filter and j an entry of it; a flow draws z. A layer without a kernel has no factors.

    Args:
        options: the generator's.
        layer: the layer.
        mean: where μ starts, [filters, filter_size].
    """

    def __init__(self, options: Options, layer: LayerSpec, mean: Tensor) -> None:
        super().__init__()
        self.options = options
        self.kernel = layer.columns.get("kernel", slice(0))
        self.mean = nn.Parameter(mean.clone())
        self.log_variance = nn.Parameter(torch.full_like(mean, options.weight_log_variance))
        self.register_buffer("prior_mean", initial_mean(layer), persistent=False)
        self.factors: FlowDensity | None = None
        if layer.fan_in:
            size, steps, hidden = layer.filters, options.flow_steps, options.flow_hidden
            self.factors = FlowDensity(torch.ones(size), options.factor_log_variance, steps, hidden)
            self.auxiliary = AuxiliaryPosterior(size, options.auxiliary_steps, 2 * hidden)
        self.sizes = [layer.filters if layer.fan_in else 0, layer.num_weights]

    def forward(self, noise: Tensor) -> Tensor:
        """Turn noise [batch, sum of sizes], first that of the factors, into W [batch, filters, filter_size]."""
        of_factors, of_weights = noise.split(self.sizes, 1)
        mean = self.mean if self.factors is None else self._scaled_mean(self.factors(of_factors)[0])
        weights: Tensor = mean + (self.log_variance / 2).exp() * of_weights.unflatten(1, self.mean.shape)
        return weights

    def divergence(self, noise: Tensor, weights: Tensor) -> Tensor:
        """Return KL(q(W|z) ‖ p) + log q(z) − log r(z|W) in nats, for each row of noise and the W it gave, [batch]."""
        if self.factors is None:
            return self._from_prior(self.mean[None]).expand(len(noise))
        z, log_q = self.factors(noise[:, : self.sizes[0]])
        log_r: Tensor = self.auxiliary(z, weights[:, :, self.kernel])
        log_ratio: Tensor = log_q - log_r
        return self._from_prior(self._scaled_mean(z)) + log_ratio

    def _scaled_mean(self, z: Tensor) -> Tensor:
        """Multiply the kernel's means by the factors z [batch, filters]: [batch, filters, filter_size]."""
        mean = self.mean.repeat(len(z), 1, 1)
        mean[:, :, self.kernel] *= z[:, :, None]
        return mean

    def _from_prior(self, mean: Tensor) -> Tensor:
        """Return KL(N(mean, σ²) ‖ prior), for a mean [batch, filters, filter_size]: [batch]."""
        log_ratio = self.log_variance - 2 * math.log(self.options.prior_std)
        squares = ((mean - self.get_buffer("prior_mean")) / self.options.prior_std).square()
        return (log_ratio.exp() + squares - 1 - log_ratio).sum((1, 2)) / 2


class AuxiliaryPosterior(nn.Module):
    """log r(z|W): an estimate of which factors z a layer's kernel W was drawn with.

    A flow turns z into z_b, and r(z|W) = N(z_b; b₁ h, exp(b₂ h)) · |det ∂z_b/∂z|, where h = mean_j tanh(Σ_i c_i W_ij)
    is one number for each network.

    Args:
        size: the number of factors.
        steps: of the flow.
        hidden: entries of a step's hidden layer.
    """

    def __init__(self, size: int, steps: int, hidden: int) -> None:
        super().__init__()
        self.flow = MaskedFlow(torch.zeros(size), steps, hidden)
        self.summary = nn.Parameter(torch.randn(size) / math.sqrt(size))
        self.mean = nn.Parameter(torch.zeros(size))
        self.log_variance = nn.Parameter(torch.zeros(size))

    def forward(self, z: Tensor, kernel: Tensor) -> Tensor:
        """Return log r(z|W) for z [batch, filters] and W [batch, filters, entries]: [batch]."""
        summary = torch.einsum("bfe,f->be", kernel, self.summary).tanh().mean(1, keepdim=True)
        z, log_determinant = self.flow(z)
        log_r: Tensor = normal_log_density(z, self.mean * summary, self.log_variance * summary) + log_determinant
        return log_r


class MultiplicativeFlows(Generator):
    """Multiplicative normalizing flows: each layer's weights are normal around means that random factors multiply.

    z holds the noise of all factors and of all weights, normal numbers; θ is a function of it, the masks of the flows
    being constants. Its penalty is the variational bound on KL(q(θ) ‖ p(θ)) with an auxiliary posterior r, averaged
    over the networks of a step,

        E[KL(q(W|z) ‖ p) + log q(z) − log r(z|W)],

    with the prior p = N(0, prior_std²) of every weight; a normalisation's scale is around 1. With λ = n training
    examples and no diversity term the loss is n · NLL plus that bound, the negative evidence lower bound; with another
    λ it is that of a posterior at the temperature n / λ.

    In all layers there is one factor for each filter, as in the paper's convolutions; its dense layers have one for
    each input. Biases have none. The paper draws the mask of a flow anew for each draw; here they are drawn once.

    References: C. Louizos, M. Welling (2017), Multiplicative Normalizing Flows for Variational Bayesian Neural
    Networks.
    """

    latent_distribution = "normal"

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__(spec, dimension=spec.num_weights)
        start = initial_weights(spec, 1)
        layers = [MultiplicativeNormal(options, layer, start[layer.name][0]) for layer in spec.layers]
        self.layers = nn.ModuleList(layers)
        entries = sum(sum(layer.sizes) for layer in layers)
        self.noise = LatentOptions(latent=entries, latent_distribution="normal")

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the noise of all layers, [count, entries]."""
        return self.noise.draw_latent(count, rng, next(self.parameters()).dtype)

    def forward(self, z: Tensor) -> Weights:
        """Turn noise [batch, entries] into weights."""
        return {name: layer(part) for name, layer, part in self._parts(z)}

    def penalty(self, z: Tensor, weights: Weights) -> Tensor:
        """Return the bound on the divergence from the prior in nats, averaged over the networks."""
        found = [layer.divergence(part, weights[name]) for name, layer, part in self._parts(z)]
        return torch.stack(found).sum(0).mean()

    def latent_entropy(self) -> float:
        """Return the entropy of z in nats."""
        return self.noise.entropy

    def _parts(self, z: Tensor) -> Iterator[tuple[str, MultiplicativeNormal, Tensor]]:
        """Each layer's name and module, and its own part of the noise."""
        layers = [cast(MultiplicativeNormal, layer) for layer in self.layers]
        return zip(self.spec.layer_names, layers, z.split([sum(layer.sizes) for layer in layers], 1), strict=True)


def _build(options: Options, spec: TargetSpec, task: Task) -> MultiplicativeFlows:
    return MultiplicativeFlows(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="mnfg",
            factory=_build,
            options=Options,
            summary="multiplicative normalizing flows: normal weights, and a flow over factors of the filters",
            reference="C. Louizos, M. Welling (2017), Multiplicative Normalizing Flows for Variational Bayesian NNs",
        )
    ]
