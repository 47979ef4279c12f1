"""A target as data: its layers, filters and unit spaces, checked when built."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Literal

import attrs
from torch import nn

from hyperframe.errors import SpecError, unknown_name
from hyperframe.runtime.progress import quantity
from hyperframe.targets.notebook import spec_table
from hyperframe.targets.params import Param, Role
from hyperframe.targets.units import UnitSpec

Norm = Literal["none", "batch", "layer", "group"]
NORMS: tuple[Norm, ...] = ("none", "batch", "layer", "group")


# Lists are as good as tuples where a spec is written; one converter a type, so that type checkers see through it.
def _numbers(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _params(values: Iterable[Param]) -> tuple[Param, ...]:
    return tuple(values)


@attrs.frozen
class Slice:
    """Some units of a space, in the order in which a layer writes or reads them."""

    space: str
    indices: tuple[int, ...] = attrs.field(converter=_numbers)

    def __attrs_post_init__(self) -> None:
        if not self.indices:
            raise SpecError(f"slice of unit space '{self.space}': needs at least one index")


Place = str | Slice


def _places(values: Iterable[Place]) -> tuple[Place, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class LayerSpec:
    """One layer: its filters, the parameters they are made of, and the unit spaces it reads and writes.

    A filter is the concatenation, in the order of `params`, of what the layer has of kernel, bias, scale and shift for
    one output channel or neuron.

    Attributes:
        name: unique in the target.
        filters: the number of output channels or neurons.
        params: the parameters; a layer without a kernel (a normalisation that follows none, a table that is added) is
            as good as one with.
        reads: the unit spaces its inputs come from; several are concatenated. Empty for the network's input.
        writes: the unit spaces its outputs go to; several share its filters out in order. Empty for the output.
        groups: as in a grouped convolution.
        norm: the normalisation that `scale` and `shift` belong to: "batch", "layer", "group", or "none".
        ops: operations that act on its outputs, in a spec that was traced and has no unit spaces.
    """

    name: str
    filters: int
    params: tuple[Param, ...] = attrs.field(converter=_params)
    reads: tuple[Place, ...] = attrs.field(default=(), converter=_places)
    writes: tuple[Place, ...] = attrs.field(default=(), converter=_places)
    groups: int = 1
    norm: Norm = "none"
    ops: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def __attrs_post_init__(self) -> None:
        where = f"layer '{self.name}'"
        if self.filters < 1 or self.groups < 1 or self.filters % self.groups:
            raise SpecError(f"{where}: {self.filters} filters do not divide into {self.groups} groups")
        if self.norm not in NORMS:
            raise SpecError(f"{where}: " + unknown_name("norm", self.norm, NORMS))
        roles = [param.role for param in self.params]
        if not roles or len(set(roles)) != len(roles):
            raise SpecError(f"{where}: needs at least one parameter and each role at most once, has {roles}")
        for param in self.params:
            if param.shape is not None and param.count(self.groups) != self.filters:
                raise SpecError(
                    f"{where}: parameter '{param.parameter}' of shape {param.shape} with axes '{param.axes}' holds "
                    f"{param.count(self.groups)} filters, the layer has {self.filters}"
                )

    @property
    def filter_size(self) -> int:
        """The number of weights of one filter."""
        return sum(param.entries(self.groups) for param in self.params)

    @property
    def num_weights(self) -> int:
        """The number of weights of all its filters."""
        return self.filters * self.filter_size

    @property
    def columns(self) -> dict[Role, slice]:
        """For each role its place in a filter."""
        ends = [0]
        for param in self.params:
            ends.append(ends[-1] + param.entries(self.groups))
        return {param.role: slice(*ends) for param, ends in zip(self.params, pairwise(ends), strict=True)}

    @property
    def fan_in(self) -> int:
        """The number of kernel entries of one filter (inputs × taps); 0 without a kernel."""
        return sum(param.entries(self.groups) for param in self.params if param.role == "kernel")

    def param(self, role: Role) -> Param | None:
        """Return the parameter with this role, or None."""
        return next((param for param in self.params if param.role == role), None)


def _layers(values: Iterable[LayerSpec]) -> tuple[LayerSpec, ...]:
    return tuple(values)


def _units(values: Iterable[UnitSpec]) -> tuple[UnitSpec, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True, cache_hash=True)
class TargetSpec:
    """A target network as data: what the generators, gauges and symmetries need to know of it.

    Attributes:
        name: the target's name.
        input_shape: shape of one input, without the batch axis.
        num_outputs: the number of outputs, at each place.
        output_places: the axes behind them, such as (height, width) of outputs for each pixel; empty for one vector.
        layers: in execution order; no layer reads a unit space before its first writer.
        units: the unit spaces.
        logits: the last layer's name, where nothing but means and reshapes follows it; None otherwise.
        drawn: names of layers whose weights are drawn with a network and not trained; they count as no diversity.

    Raises:
        SpecError: names, sizes or the order contradict each other.

    Example:
        >>> from hyperframe.targets.params import bias, kernel
        >>> from hyperframe.targets.units import UnitSpec
        >>> spec = TargetSpec(
        ...     name="two_layers", input_shape=(4,), num_outputs=2, logits="out",
        ...     units=[UnitSpec(name="hidden", size=3, ops=["relu"])],
        ...     layers=[
        ...         LayerSpec(name="in", filters=3, writes=["hidden"],
        ...                   params=[kernel("0.weight", "o i"), bias("0.bias")]),
        ...         LayerSpec(name="out", filters=2, reads=["hidden"],
        ...                   params=[kernel("2.weight", "o i"), bias("2.bias")]),
        ...     ],
        ... )
        >>> spec.bind(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))).num_weights
        23
    """

    name: str
    input_shape: tuple[int, ...] = attrs.field(converter=_numbers)
    num_outputs: int
    output_places: tuple[int, ...] = attrs.field(default=(), converter=_numbers)
    layers: tuple[LayerSpec, ...] = attrs.field(converter=_layers)
    units: tuple[UnitSpec, ...] = attrs.field(default=(), converter=_units)
    logits: str | None = None
    drawn: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def _repr_html_(self) -> str:
        return spec_table(self)

    def __attrs_post_init__(self) -> None:
        for kind, names in (("layer", self.layer_names), ("unit space", [unit.name for unit in self.units])):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise SpecError(f"target '{self.name}': two {kind}s are called '{twice.pop()}'")
        if not self.layers:
            raise SpecError(f"target '{self.name}' has no layers")
        for name in self.drawn:
            self.layer(name)
        written: set[str] = set()
        for layer in self.layers:
            self._check_places(layer, written)
        self._check_claims()
        if self.logits is not None and (self.logits not in self.layer_names or self.layer(self.logits).writes):
            raise SpecError(f"target '{self.name}': logits is '{self.logits}', must be a layer that writes no units")
        filters = self.num_outputs if self.logits is None else self.layer(self.logits).filters
        if filters != self.num_outputs:
            raise SpecError(
                f"target '{self.name}': the logits' layer '{self.logits}' has {quantity(filters, 'filter')}, and "
                f"the target {quantity(self.num_outputs, 'output')}"
            )

    def _check_places(self, layer: LayerSpec, written: set[str]) -> None:
        where = f"target '{self.name}', layer '{layer.name}'"
        for place in (*layer.reads, *layer.writes):
            unit = self.unit(_space(place), where)
            if isinstance(place, Slice) and not all(0 <= index < unit.size for index in place.indices):
                raise SpecError(f"{where}: indices reach beyond unit space '{unit.name}' of size {unit.size}")
        for place in layer.reads:
            if _space(place) not in written:
                raise SpecError(f"{where} reads unit space '{_space(place)}' before any layer has written it")
        written.update(_space(place) for place in layer.writes)
        for place in layer.writes:
            if isinstance(place, Slice) and len(set(place.indices)) != len(place.indices):
                raise SpecError(f"{where} writes a unit of '{place.space}' twice")
        size = sum(self.size_of(place) for place in layer.writes)
        if layer.writes and size != layer.filters:
            raise SpecError(f"{where} has {layer.filters} filters but writes unit spaces of {size} units in all")
        source = layer.param("kernel")
        read = sum(self.size_of(place) for place in layer.reads)
        if source is None:
            if layer.reads and read != layer.filters:
                raise SpecError(f"{where} has no kernel and {layer.filters} filters, but reads {read} units")
        elif layer.reads and source.shape is not None:
            size = source.known_shape[source.letters.index("i")] if "i" in source.letters else 1
            channels = size if source.inputs_first else size * layer.groups
            if channels % read:
                raise SpecError(
                    f"{where}: parameter '{source.parameter}' of shape {source.shape} takes {channels} inputs, which "
                    f"is no multiple of the {read} units that the layer reads"
                )

    def _check_claims(self) -> None:
        claims: dict[str, list[tuple[str, Param]]] = {}
        for layer in self.layers:
            for param in layer.params:
                claims.setdefault(param.parameter, []).append((layer.name, param))
        for name, claimed in claims.items():
            rows = [param.rows for _, param in claimed]
            if len(claimed) > 1 and None in rows:
                names = " and ".join(f"'{layer}'" for layer, _ in claimed)
                raise SpecError(f"target '{self.name}': parameter '{name}' is claimed twice, by layers {names}")
            spans = sorted(span for span in rows if span is not None)
            shape = claimed[0][1].shape
            if spans and shape is not None:
                size = shape[claimed[0][1].letters.index("o")]
                ends = [0, *(end for pair in spans for end in pair), size]
                if any(ends[k] != ends[k + 1] for k in range(0, len(ends), 2)):
                    raise SpecError(f"target '{self.name}': rows {spans} of parameter '{name}' must cover 0 to {size}")

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one example's outputs: [num_outputs, *output_places]."""
        return (self.num_outputs, *self.output_places)

    @property
    def layer_names(self) -> list[str]:
        """The layers' names in execution order."""
        return [layer.name for layer in self.layers]

    @property
    def num_weights(self) -> int:
        """The number of weights of the whole target."""
        return sum(layer.num_weights for layer in self.layers)

    @property
    def trained(self) -> "TargetSpec":
        """The spec without the layers that are drawn."""
        if not self.drawn:
            return self
        kept = [layer for layer in self.layers if layer.name not in self.drawn]
        return attrs.evolve(self, layers=kept, drawn=())

    def layer(self, name: str) -> LayerSpec:
        """Return the layer with this name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise SpecError(f"target '{self.name}': " + unknown_name("layer", name, self.layer_names))

    def unit(self, name: str, where: str = "") -> UnitSpec:
        """Return the unit space with this name."""
        for unit in self.units:
            if unit.name == name:
                return unit
        names = [unit.name for unit in self.units]
        raise SpecError(f"{where or self.name}: " + unknown_name("unit space", name, names))

    def ops_behind(self, layer: LayerSpec) -> tuple[str, ...]:
        """Return the operations that act on a layer's outputs."""
        return (*layer.ops, *(op for place in layer.writes for op in self.unit(_space(place)).ops))

    def size_of(self, place: Place) -> int:
        """Return the number of units that a place takes up."""
        return len(place.indices) if isinstance(place, Slice) else self.unit(place).size

    def part(self, layers: Iterable[str]) -> "TargetSpec":
        """Return the spec of some of the layers alone, for `pack` and `unpack`; it has no unit spaces."""
        wanted = set(layers)
        kept = [attrs.evolve(layer, reads=(), writes=()) for layer in self.layers if layer.name in wanted]
        drawn = tuple(name for name in self.drawn if name in wanted)
        return attrs.evolve(self, layers=tuple(kept), units=(), logits=None, drawn=drawn)

    def bind(self, module: nn.Module) -> "TargetSpec":
        """Return the spec with the shapes of this module's parameters filled in.

        Raises:
            SpecError: a parameter that the module lacks, a trainable one that no layer claims, or a shape that does
                not fit.
        """
        shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        trainable = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
        claimed = {param.parameter for layer in self.layers for param in layer.params}
        forgotten = [name for name in trainable if name not in claimed]
        if forgotten:
            raise SpecError(
                f"target '{self.name}': no layer claims parameter '{forgotten[0]}'; name it in a LayerSpec, "
                "or set requires_grad=False to keep it constant"
            )
        return attrs.evolve(self, layers=tuple(_bind_layer(self.name, layer, shapes) for layer in self.layers))


def _bind_layer(target: str, layer: LayerSpec, shapes: Mapping[str, tuple[int, ...]]) -> LayerSpec:
    params = []
    for param in layer.params:
        if param.parameter not in shapes:
            message = unknown_name("parameter", param.parameter, shapes)
            raise SpecError(f"target '{target}', layer '{layer.name}': {message}")
        found = shapes[param.parameter]
        if param.shape is not None and param.shape != found:
            raise SpecError(
                f"target '{target}', layer '{layer.name}': parameter '{param.parameter}' has shape {found}, "
                f"the spec says {param.shape}"
            )
        params.append(attrs.evolve(param, shape=found))
    return attrs.evolve(layer, params=tuple(params))


def _space(place: Place) -> str:
    return place.space if isinstance(place, Slice) else place
