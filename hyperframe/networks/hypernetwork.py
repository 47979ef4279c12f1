"""The paper's hypernetwork: an extractor, and weight generators that the filters of a layer share (section 3.3)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import torch
from einops import rearrange
from torch import Tensor, nn

from hyperframe.errors import ConfigError, unknown_name
from hyperframe.networks.dense import Dense, DenseOptions, InitialisationName
from hyperframe.networks.generator import Generator, LatentOptions, initial_mean, initial_std
from hyperframe.options import option
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.types import Weights


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class StackOptions(DenseOptions):
    """Options of the extractor and the weight generators."""

    code: int = option(8, "number of entries of a filter's code", minimum=1)
    extractor: tuple[int, ...] = option((128, 128), "sizes of the extractor's hidden layers", minimum=1)
    weight_generators: tuple[int, ...] | tuple[tuple[int, ...], ...] = option(
        (64, 64),
        "sizes of the weight generators' hidden layers: one list for all, or a list for each",
        minimum=1,
    )
    whole: tuple[str, ...] = option(("last",), "layers with one code for all their filters; 'last' is the last layer")
    sharing: Literal["layer", "shape"] = option(
        "layer", "layer: each layer has a weight generator of its own; shape: layers of one shape share one"
    )
    layer_code: int = option(8, "shape: number of entries of a layer's own learnt code", minimum=1)
    initialisation: InitialisationName = option("authors", "authors: small; hyperfan: the target's own variance")


@attrs.frozen(kw_only=True)
class HypernetworkOptions(LatentOptions, StackOptions):
    """Options of the hypernetwork."""


@attrs.frozen(kw_only=True)
class _Group:
    """The layers that one weight generator makes, and how many codes it gets of each.

    `rows` are the places of their own codes among all layer codes, None where a layer shares with no other.
    """

    layers: tuple[LayerSpec, ...]
    codes: tuple[int, ...]
    rows: slice | None

    @property
    def outputs(self) -> int:
        """The number of weights that one code is turned into."""
        return self.layers[0].num_weights // self.codes[0]

    @property
    def layer_codes(self) -> int:
        """The number of layer codes."""
        return 0 if self.rows is None else len(self.layers)


class Hypernetwork(Generator):
    """Generates weights from z by an extractor and weight generators: z → codes → weights.

    The extractor E maps z [batch, latent] to all codes at once. Layer l has one code for each filter, or one for the
    whole layer; its weight generator W_l maps a code to the filter, or to the whole layer. `describe` counts parameters
    as the paper's Table 5 does, with matrices apart from batch normalisation's scales and shifts.

    With `sharing: shape` layers whose filters have the same parts of the same sizes have one weight generator, which
    reads a code of the filter and behind it a learnt code of the layer; layers with one code for the whole layer share
    with others of as many filters. A layer that shares with none has no layer code, since that would be a constant. All
    layers of a weight generator pass it at once, so that its batch normalisations have the moments of all of them, in
    training as in evaluation.

    A layer code starts at a random place where the mean square of its entries is that of a code's: 1 with hyperfan,
    which takes all inputs of a weight generator alike, and `authors_variance` with the authors' initialisation.

    Args:
        options: its options.
        spec: the target's.
        scale: hyperfan: the first weights' deviations, as a part of those that a network starts with.

    Raises:
        ConfigError: `whole` names a layer the target lacks, or `weight_generators` has not one list for each of them.

    References: section 3.3, Tables 5 to 7; D. Ha, A. Dai, Q. Le (2016), HyperNetworks, whose layers share as with
    `sharing: shape`.
    """

    def __init__(self, options: HypernetworkOptions, spec: TargetSpec, scale: float = 1.0) -> None:
        uses = _uses(options, spec)
        groups = _groups(options, spec, uses)
        extractor = Dense([options.latent, *options.extractor, options.code * sum(uses.values())], options)
        stacks = [
            Dense([options.code + options.layer_code * bool(group.layer_codes), *widths, group.outputs], options)
            for group, widths in zip(groups, _widths(options, spec, groups), strict=True)
        ]
        # No more directions pass the weight generators, side by side, than their narrowest places have together.
        narrowest = [min(options.code, *stack.widths) for stack in stacks]
        side_by_side = sum(sum(group.codes) * width for group, width in zip(groups, narrowest, strict=True))
        super().__init__(spec, dimension=min(*extractor.widths[:-1], side_by_side))
        self.minimum_batch = 2 if options.batch_norm else 1
        self.latent_distribution = options.latent_distribution
        self.options = options
        self.uses = uses
        self._groups = groups
        self._code_counts = list(uses.values())
        self.extractor = extractor
        self.weight_generators = nn.ModuleList(stacks)
        layer_codes = sum(group.layer_codes for group in groups)
        self.layer_codes = nn.Parameter(torch.randn(layer_codes, options.layer_code)) if layer_codes else None
        for number, layer in enumerate(spec.layers):
            scaled = any(param.role == "scale" for param in layer.params)  # all other first means are zero
            self.register_buffer(f"mean_{number}", initial_mean(layer) if scaled else None, persistent=False)
        self._initialise(scale)

    def _initialise(self, scale: float) -> None:
        authors = self.options.initialisation == "authors"
        if authors:
            for stack in (self.extractor, *self._stacks()):
                stack.initialise_authors()
        else:
            self.extractor.initialise_hyperfan(self.options.latent_variance, torch.ones(self.extractor.sizes[-1]))
        for number, (group, stack) in enumerate(zip(self._groups, self._stacks(), strict=True)):
            std = torch.stack([self._first_std(layer, scale) for layer in group.layers])
            if not authors:
                stack.initialise_hyperfan(1.0, std[0])
            # What starts without deviation, a normalisation's scale and shift, does so in all layers of one shape.
            ratio = torch.where(std == std[0], 1.0, std / std[0])[:, None]
            differs = not authors and bool((ratio != 1).any())
            self.register_buffer(f"ratio_{number}", ratio if differs else None, persistent=False)
        if self.layer_codes is not None:
            with torch.no_grad():
                root = self.layer_codes.square().mean(1, keepdim=True).sqrt()
                self.layer_codes.mul_((math.sqrt(self.options.authors_variance) if authors else 1.0) / root)

    def _first_std(self, layer: LayerSpec, scale: float) -> Tensor:
        """The deviations that a layer's weights should start with, of each output of its weight generator."""
        return scale * initial_std(self.spec, layer).repeat(layer.filters // self.uses[layer.name])

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
        made = self.generate(z)
        for number, (layer, weights) in enumerate(made.items()):
            mean: Tensor | None = getattr(self, f"mean_{number}")
            if mean is not None:  # adding zeros would be one more pass over all weights
                made[layer] = weights + mean
        return made

    def generate(self, z: Tensor) -> Weights:
        """Generate what is added to the weights' first means: for each layer [batch, filters, filter_size]."""
        codes, made = self.codes(z), Weights()
        for number, (group, stack) in enumerate(zip(self._groups, self._stacks(), strict=True)):
            names = [layer.name for layer in group.layers]
            parts = stack(self._read(group, [codes[name] for name in names])).split(group.codes, 1)
            ratio: Tensor | None = getattr(self, f"ratio_{number}")
            if ratio is not None:
                parts = [part * own for part, own in zip(parts, ratio, strict=True)]
            made.update(zip(names, parts, strict=True))
        return {
            layer.name: made[layer.name].reshape(len(z), layer.filters, layer.filter_size) for layer in self.spec.layers
        }

    def _read(self, group: _Group, codes: Sequence[Tensor]) -> Tensor:
        """Return what a weight generator reads, of its layers' codes one after the other: [batch, codes, entries]."""
        if group.rows is None:
            return codes[0]
        own = self.get_parameter("layer_codes")[group.rows]
        spread = [code.expand(*each.shape[:2], -1) for code, each in zip(own, codes, strict=True)]
        return torch.cat([torch.cat(list(codes), 1), torch.cat(spread, 1)], 2)

    def describe(self) -> dict[str, Any]:
        """Return the rows of Table 5: each stack's sizes and matrix entries; `parameters` counts all parameters.

        Layers that share a weight generator have one row. `codes` are those of all its layers, and `layer_codes` the
        entries of the layers' own.
        """
        rows = [
            {
                "layers": [layer.name for layer in group.layers],
                "codes": sum(group.codes),
                "layer_codes": group.layer_codes * self.options.layer_code,
                **stack.describe(),
            }
            for group, stack in zip(self._groups, self._stacks(), strict=True)
        ]
        return {**super().describe(), "extractor": self.extractor.describe(), "weight_generators": rows}


def _uses(options: StackOptions, spec: TargetSpec) -> dict[str, int]:
    """Return how many codes each layer has: one for each filter, or a single one."""
    whole = {spec.layers[-1].name if name == "last" else name for name in options.whole}
    for name in whole - set(spec.layer_names):
        raise ConfigError("generator.whole: " + unknown_name("layer", name, spec.layer_names))
    return {layer.name: 1 if layer.name in whole else layer.filters for layer in spec.layers}


def _groups(options: StackOptions, spec: TargetSpec, uses: Mapping[str, int]) -> list[_Group]:
    """Return the layers of each weight generator, in the order of their first layers."""
    together: dict[object, list[LayerSpec]] = {}
    for layer in spec.layers:
        parts = tuple((role, place.start, place.stop) for role, place in layer.columns.items())
        shape = (layer.filters // uses[layer.name], parts)
        together.setdefault(layer.name if options.sharing == "layer" else shape, []).append(layer)
    groups, seen = [], 0
    for layers in together.values():
        rows = slice(seen, seen + len(layers)) if len(layers) > 1 else None
        seen += len(layers) if rows else 0
        groups.append(_Group(layers=tuple(layers), codes=tuple(uses[layer.name] for layer in layers), rows=rows))
    return groups


def _widths(options: StackOptions, spec: TargetSpec, groups: Sequence[_Group]) -> list[tuple[int, ...]]:
    """Return the hidden sizes of each weight generator."""
    nested = [item for item in options.weight_generators if isinstance(item, tuple)]
    flat = tuple(item for item in options.weight_generators if isinstance(item, int))
    if flat or not nested:
        return [flat] * len(groups)
    if len(nested) != len(groups):
        names = [" and ".join(layer.name for layer in group.layers) for group in groups]
        each = "each layer" if options.sharing == "layer" else "each weight generator"
        raise ConfigError(
            f"generator.weight_generators: expected one list for all, or {len(groups)}, one for {each} of "
            f"'{spec.name}' ({', '.join(names)}), but got {len(nested)}"
        )
    return nested
