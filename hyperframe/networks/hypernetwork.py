"""The paper's hypernetwork: an extractor, and weight generators that the filters of a layer share (section 3.3)."""

from typing import Any

import attrs
import torch
from einops import rearrange
from torch import Tensor, nn

from hyperframe.errors import ConfigError, unknown_name
from hyperframe.networks.dense import Dense, DenseOptions, InitialisationName
from hyperframe.networks.generator import Generator, LatentOptions, initial_mean, initial_std
from hyperframe.options import option
from hyperframe.targets.spec import TargetSpec
from hyperframe.types import Weights


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class StackOptions(DenseOptions):
    """Options of the extractor and the weight generators."""

    code: int = option(8, "number of entries of a filter's code", minimum=1)
    extractor: tuple[int, ...] = option((128, 128), "sizes of the extractor's hidden layers", minimum=1)
    weight_generators: tuple[int, ...] | tuple[tuple[int, ...], ...] = option(
        (64, 64), "sizes of the weight generators' hidden layers: one list for all, or a list for each layer", minimum=1
    )
    whole: tuple[str, ...] = option(("last",), "layers with one code for all their filters; 'last' is the last layer")
    initialisation: InitialisationName = option("authors", "authors: small; hyperfan: the target's own variance")


@attrs.frozen(kw_only=True)
class HypernetworkOptions(LatentOptions, StackOptions):
    """Options of the hypernetwork."""


class Hypernetwork(Generator):
    """Generates weights from z by an extractor and weight generators: z → codes → weights.

    The extractor E maps z [batch, latent] to all codes at once. Layer l has one code for each filter, or one for the
    whole layer; its weight generator W_l maps a code to the filter, or to the whole layer. `describe` counts parameters
    as the paper's Table 5 does, with matrices apart from batch normalisation's scales and shifts.

    Args:
        options: its options.
        spec: the target's.
        scale: hyperfan: the first weights' deviations, as a part of those that a network starts with.

    Raises:
        ConfigError: `whole` names a layer the target lacks, or `weight_generators` has not one list for each layer.

    References: section 3.3, Table 5; D. Ha, A. Dai, Q. Le (2016), HyperNetworks.
    """

    def __init__(self, options: HypernetworkOptions, spec: TargetSpec, scale: float = 1.0) -> None:
        uses = _uses(options, spec)
        sizes = [
            [options.code, *widths, layer.num_weights // uses[layer.name]]
            for layer, widths in zip(spec.layers, _widths(options, spec), strict=True)
        ]
        # No more directions pass the weight generators, side by side, than their narrowest layers have together.
        side_by_side = sum(count * min(stack) for count, stack in zip(uses.values(), sizes, strict=True))
        super().__init__(spec, dimension=min(options.latent, *options.extractor, side_by_side))
        self.minimum_batch = 2 if options.batch_norm else 1
        self.latent_distribution = options.latent_distribution
        self.options = options
        self.uses = uses
        self._code_counts = list(uses.values())
        code_entries = options.code * sum(self._code_counts)
        self.extractor = Dense([options.latent, *options.extractor, code_entries], options)
        self.weight_generators = nn.ModuleList(Dense(stack, options) for stack in sizes)
        for number, layer in enumerate(spec.layers):
            self.register_buffer(f"mean_{number}", initial_mean(layer), persistent=False)
        self._initialise(scale)

    def _initialise(self, scale: float) -> None:
        stacks = [self.extractor, *self._stacks()]
        if self.options.initialisation == "authors":
            for stack in stacks:
                stack.initialise_authors()
            return
        self.extractor.initialise_hyperfan(self.options.latent_variance, torch.ones(self.extractor.sizes[-1]))
        for layer, stack in zip(self.spec.layers, self._stacks(), strict=True):
            std = scale * initial_std(self.spec, layer)
            stack.initialise_hyperfan(1.0, std.repeat(layer.filters // self.uses[layer.name]))

    def _stacks(self) -> list[Dense]:
        return [stack for stack in self.weight_generators if isinstance(stack, Dense)]

    @property
    def dtype(self) -> torch.dtype:
        """That of its parameters."""
        return self.extractor.linears[0].weight.dtype

    def latent(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw z, [count, latent]."""
        return self.options.draw_latent(count, rng, self.dtype)

    def latent_entropy(self) -> float:
        """Return the entropy of z in nats."""
        return self.options.entropy

    def is_injective(self) -> bool:
        """Whether the extractor and all weight generators map different inputs to different outputs."""
        return all(stack.is_injective for stack in (self.extractor, *self._stacks()))

    def codes(self, z: Tensor) -> dict[str, Tensor]:
        """Return each layer's codes: [batch, filters, code], or [batch, 1, code] for a layer with one code."""
        codes = rearrange(self.extractor(z), "batch (codes code) -> batch codes code", code=self.options.code)
        return dict(zip(self.spec.layer_names, codes.split(self._code_counts, 1), strict=True))

    def forward(self, z: Tensor) -> Weights:
        """Turn z [batch, latent] into weights."""
        made = enumerate(self.generate(z).items())
        return {layer: weights + self.get_buffer(f"mean_{number}") for number, (layer, weights) in made}

    def generate(self, z: Tensor) -> Weights:
        """Generate what is added to the weights' first means: for each layer [batch, filters, filter_size]."""
        codes = self.codes(z)
        return {
            layer.name: stack(codes[layer.name]).reshape(len(z), layer.filters, layer.filter_size)
            for layer, stack in zip(self.spec.layers, self._stacks(), strict=True)
        }

    def describe(self) -> dict[str, Any]:
        """Return the rows of Table 5: each stack's sizes and matrix entries; `parameters` counts all parameters."""
        rows = [
            {"layer": layer.name, "codes": self.uses[layer.name], **stack.describe()}
            for layer, stack in zip(self.spec.layers, self._stacks(), strict=True)
        ]
        return {**super().describe(), "extractor": self.extractor.describe(), "weight_generators": rows}


def _uses(options: StackOptions, spec: TargetSpec) -> dict[str, int]:
    """Return how many codes each layer has: one for each filter, or a single one."""
    whole = {spec.layers[-1].name if name == "last" else name for name in options.whole}
    for name in whole - set(spec.layer_names):
        raise ConfigError("generator.whole: " + unknown_name("layer", name, spec.layer_names))
    return {layer.name: 1 if layer.name in whole else layer.filters for layer in spec.layers}


def _widths(options: StackOptions, spec: TargetSpec) -> list[tuple[int, ...]]:
    """Return the hidden sizes of each layer's weight generator."""
    nested = [item for item in options.weight_generators if isinstance(item, tuple)]
    flat = tuple(item for item in options.weight_generators if isinstance(item, int))
    if flat or not nested:
        return [flat] * len(spec.layers)
    if len(nested) != len(spec.layers):
        raise ConfigError(
            f"generator.weight_generators: expected one list for all, or {len(spec.layers)}, one for each layer of "
            f"'{spec.name}' ({', '.join(spec.layer_names)}), but got {len(nested)}"
        )
    return nested
