"""The generator `mc_dropout`: one network, of whose hidden filters each draw leaves some out."""

import attrs
import torch
from torch import Tensor, nn

from hyperframe import Component, Generator, Task, Weights, hookimpl, option
from hyperframe.errors import ConfigError
from hyperframe.networks import initial_weights
from hyperframe.targets import LayerSpec, TargetSpec


@attrs.frozen(kw_only=True)
class Options:
    """Options of the generator."""

    rate: float = option(0.1, "probability that a filter of a hidden layer is left out", above=0, below=1)


class McDropout(Generator):
    """θ = A with each filter of the hidden layers times z / (1 − rate), z ~ Bernoulli(1 − rate); A is trained.

    A filter that is left out gives no output for any example of the batch, and in evaluation too: a draw is a network.
    The last layer keeps all its filters, and so do layers without a kernel, such as a table that is added. Where a
    normalisation follows, its scale and shift alone are multiplied, since it would undo a factor of the kernel. With a
    zero-mean prior of variance s² on the weights, which is `objective.weight_l2` = 1 / (2 s²) beside
    `objective.lambda` = n, training approximates variational inference (Gal and Ghahramani). Nothing is added to the
    loss here, so that by default no prior pulls at the weights.

    References: Y. Gal, Z. Ghahramani (2016), Dropout as a Bayesian Approximation: Representing Model Uncertainty in
    Deep Learning.

    Raises:
        ConfigError: the target has one layer alone.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        last = spec.logits or spec.layer_names[-1]
        self.sizes = {layer.name: layer.filters for layer in spec.layers if layer.name != last and layer.fan_in}
        if not self.sizes:
            raise ConfigError(
                f"generator 'mc_dropout' leaves filters of hidden layers out, and target '{spec.name}' has none; "
                "choose a target with a hidden layer"
            )
        super().__init__(spec, dimension=sum(self.sizes.values()))
        self.options = options
        weights = initial_weights(spec, 1)
        self.layers = nn.ParameterList(nn.Parameter(weights[layer.name][0]) for layer in spec.layers)
        for number, layer in enumerate(spec.layers):
            self.register_buffer(f"multiplied_{number}", _multiplied(layer))

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw which filters stay, 1 for each that does and 0 for the others: [count, hidden filters]."""
        z = torch.rand(count, self.dimension, generator=rng, device=rng.device, dtype=self.layers[0].dtype)
        return (z >= self.options.rate).to(z)

    def forward(self, z: Tensor) -> Weights:
        """Turn masks into weights."""
        factors = (z / (1 - self.options.rate)).split(list(self.sizes.values()), 1)
        of_layer = dict(zip(self.sizes, factors, strict=True))
        weights = {}
        for number, (layer, values) in enumerate(zip(self.spec.layers, self.layers, strict=True)):
            if layer.name in of_layer:
                multiplied = self.get_buffer(f"multiplied_{number}")
                factor = of_layer[layer.name][:, :, None]
                weights[layer.name] = values * (1 + (factor - 1) * multiplied)
            else:
                weights[layer.name] = values.repeat(len(z), 1, 1)
        return weights

    def departures(self) -> list[str]:
        """Say that masks are discrete."""
        return ["draws one of finitely many networks: q is no density"]


def _multiplied(layer: LayerSpec) -> Tensor:
    """Which entries of a filter a mask multiplies, 1 for each that it does: [filter_size]."""
    entries = torch.ones(layer.filter_size)
    behind = [place for role, place in layer.columns.items() if role in ("scale", "shift")]
    if layer.norm != "none" and behind:
        entries.zero_()
        for place in behind:
            entries[place] = 1
    return entries


def _build(options: Options, spec: TargetSpec, task: Task) -> McDropout:
    return McDropout(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="mc_dropout",
            factory=_build,
            options=Options,
            summary="one network, of whose hidden filters each draw leaves some out at random",
            reference="Y. Gal, Z. Ghahramani (2016), Dropout as a Bayesian Approximation",
        )
    ]
