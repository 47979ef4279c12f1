"""The generator `rank1`: shared weights times Gaussian factors of filters and of inputs."""

from collections.abc import Mapping
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.networks import initial_weights
from hyperframe.targets import LayerSpec, TargetSpec
from hyperframe_baselines.gaussian import kl_to_prior, rho_of, std_of


@attrs.frozen(kw_only=True)
class Options:
    """Options of the generator."""

    components: int = option(4, "K, how many components the mixture of factors has", minimum=1)
    prior_std: float = option(0.1, "standard deviation of the prior N(1, prior_std²) of each factor", above=0)
    spread: float = option(0.5, "standard deviation of the factors' means at the start, around 1", minimum=0)
    initial_std: float = option(0.05, "standard deviation of each factor around its mean at the start", above=0)


class Rank1(Generator):
    """Kernels W_oi r_o s_i, with W shared and (r, s) of an equal mixture of K diagonal Gaussians; z = (k, ε).

    r has a factor for each filter and s one for each input of a layer, in a convolution the same at all taps. Biases
    and what belongs to a normalisation are points, of each component its own, since no factor of a kernel gives a
    normalised layer another output. The penalty is (1/K) Σ_k KL(q_k ‖ p) with the prior p = N(1, prior_std²) of each
    factor: an upper bound of the mixture's divergence, and of one component the divergence itself. W, biases, scales
    and shifts have a flat prior; `objective.weight_l2` gives them another. With `objective.lambda` = n, the number of
    training examples, and no diversity term, the loss is the negative of a lower bound of the evidence; with another
    λ, the temperature is n / λ.

    References: M. Dusenberry, G. Jerfel, Y. Wen, Y. Ma, J. Snoek, K. Heller, B. Lakshminarayanan, D. Tran (2020),
    Efficient and Scalable Bayesian Neural Nets with Rank-1 Factors.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        self.sizes = {layer.name: _factors(layer) for layer in spec.layers}
        # Of the factors of one group, filters can take what inputs give.
        free = sum(filters + inputs - layer.groups * bool(inputs) for layer, (filters, inputs) in self._of(spec))
        super().__init__(spec, dimension=free)
        self.options = options
        weights, components = initial_weights(spec, 1), options.components
        self.kernels, self.points = nn.ParameterDict(), nn.ParameterDict()
        for number, layer in enumerate(spec.layers):
            start, place = weights[layer.name][0], _kernel(layer)
            if layer.fan_in:
                self.kernels[str(number)] = nn.Parameter(start[:, place].clone())
                self.register_buffer(f"inputs_{number}", _input_of_entries(layer))
            if layer.filter_size > layer.fan_in:
                rest = torch.cat([start[:, : place.start], start[:, place.stop :]], 1)
                self.points[str(number)] = nn.Parameter(rest.expand(components, *rest.shape).clone())
        entries = sum(filters + inputs for filters, inputs in self.sizes.values())
        self.mean = nn.Parameter(1 + options.spread * torch.randn(components, entries))
        self.rho = nn.Parameter(torch.full((components, entries), rho_of(options.initial_std)))

    def _of(self, spec: TargetSpec) -> list[tuple[LayerSpec, tuple[int, int]]]:
        return [(layer, self.sizes[layer.name]) for layer in spec.layers]

    @property
    def std(self) -> Tensor:
        """The standard deviation of each factor, [components, factors]."""
        return std_of(self.rho)

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw the component's number and the factors' noise, [count, 1 + factors].

        Components take turns; the last networks, too few for all components, are of different ones at random.
        """
        components = self.options.components
        numbers, rest = torch.arange(count, device=rng.device) % components, count % components
        if rest:
            numbers[count - rest :] = torch.randperm(components, generator=rng, device=rng.device)[:rest]
        noise = torch.randn(count, self.mean.shape[1], generator=rng, device=rng.device, dtype=self.mean.dtype)
        return torch.cat([numbers[:, None].to(noise), noise], 1)

    def forward(self, z: Tensor) -> Weights:
        """Turn z [batch, 1 + factors] into weights."""
        component = z[:, 0].round().long()
        factors = self.mean[component] + self.std[component] * z[:, 1:]
        parts = iter(factors.split([size for sizes in self.sizes.values() for size in sizes], 1))
        weights = {}
        for number, layer in enumerate(self.spec.layers):
            of_filters, of_inputs = next(parts), next(parts)
            place, key = _kernel(layer), str(number)
            found = [] if key not in self.points else [self.points[key][component]]
            if key in self.kernels:
                of_entries = of_inputs[:, self.get_buffer(f"inputs_{number}")]
                kernel = self.kernels[key] * of_filters[:, :, None] * of_entries
                rest = found[0] if found else kernel[:, :, :0]
                found = [rest[:, :, : place.start], kernel, rest[:, :, place.start :]]
            weights[layer.name] = torch.cat(found, 2)
        return weights

    def penalty(self, z: Tensor, weights: Weights) -> Tensor:
        """(1/K) Σ_k KL(q_k ‖ prior) in nats; it does not depend on what was drawn."""
        return kl_to_prior(self.mean, self.std, 1.0, self.options.prior_std) / self.options.components

    def code(self, z: Tensor) -> Tensor:
        """The component's number, one-hot, and the noise: [networks, components + factors]."""
        one_hot = F.one_hot(z[:, 0].round().long(), self.options.components)
        return torch.cat([one_hot.to(z), z[:, 1:]], 1)

    def describe(self) -> dict[str, Any]:
        """Return how many components, factors and parameters it has."""
        return {**super().describe(), "components": self.options.components, "factors": self.mean.shape[1]}


def _kernel(layer: LayerSpec) -> slice:
    """The place of the kernel in a filter; an empty one where there is none."""
    columns: Mapping[Any, slice] = layer.columns
    return columns.get("kernel", slice(0, 0))


def _factors(layer: LayerSpec) -> tuple[int, int]:
    """How many factors of filters and of inputs a layer has; none without a kernel."""
    if not layer.fan_in:
        return 0, 0
    return layer.filters, int(_input_of_entries(layer).max()) + 1


def _input_of_entries(layer: LayerSpec) -> Tensor:
    """Which of the layer's inputs each entry of a kernel reads, int64 [filters, fan_in]; a group has its own."""
    param = layer.param("kernel")
    assert param is not None
    shape = [
        size // layer.groups if letter == "i" and param.inputs_first else size
        for letter, size in zip(param.letters, param.known_shape, strict=True)
        if letter != "o"
    ]
    own = [letter for letter in param.letters if letter != "o"]
    inputs = shape[own.index("i")] if "i" in own else 1
    along = [inputs if letter == "i" else 1 for letter in own]
    entries = torch.arange(inputs).reshape(along).expand(shape).flatten()
    group = torch.arange(layer.filters) // (layer.filters // layer.groups)
    return inputs * group[:, None] + entries


def _build(options: Options, spec: TargetSpec, task: Task) -> Rank1:
    return Rank1(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="rank1",
            factory=_build,
            options=Options,
            summary="shared weights times Gaussian factors of filters and of inputs, in several components",
            reference="M. Dusenberry et al. (2020), Efficient and Scalable Bayesian Neural Nets with Rank-1 Factors",
        )
    ]
