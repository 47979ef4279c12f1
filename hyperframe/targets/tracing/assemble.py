"""A spec and a structure, put together from all that tracing has found."""

from collections.abc import Iterable, Sequence

import attrs
from torch import Tensor, nn

from hyperframe.targets.params import Param
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Blocks, Structure
from hyperframe.targets.tracing.factors import Combination
from hyperframe.targets.tracing.findings import FoundLayer
from hyperframe.targets.tracing.interchangeable import exchangeable
from hyperframe.targets.tracing.labels import uniform
from hyperframe.targets.tracing.parameters import AxisKey, Parameters, Rows
from hyperframe.targets.tracing.state import Discovery

LETTERS = "o a c d e f h j"


def assemble(
    found: Discovery,
    module: nn.Module,
    *,
    name: str,
    input_shape: Sequence[int],
    outputs: Sequence[int],
    logits: FoundLayer | None,
) -> Structure:
    """Put the structure together, with the bound spec.

    Args:
        found: when all of the graph has been walked.
        module: for the shapes of its parameters.
        name: of the target.
        input_shape: of one input.
        outputs: the shape of one example's: how many there are, and the axes behind them.
        logits: the last layer, if its outputs are the network's.
    """
    shapes = {key: tuple(value.shape) for key, value in module.named_parameters()}
    _merge_rows(found.parameters, shapes)
    layers: list[LayerSpec] = []
    names: dict[int, str] = {}
    for layer in found.parameters.layers:
        names[id(layer)] = _unique(layer, names.values())
        layers.append(_layer_spec(layer, names[id(layer)], shapes))
    spec = TargetSpec(
        name=name,
        input_shape=tuple(input_shape),
        num_outputs=outputs[0],
        output_places=tuple(outputs[1:]),
        layers=layers,
        logits=None if logits is None else names[id(logits)],
    )
    _drop_needless_reads(found.parameters)
    exchange = exchangeable(found.units, found.trail, found.inside)
    axes, read = _axes(found, {param.parameter: param for layer in layers for param in layer.params})
    shifts = tuple(
        names[id(layer)]
        for layer in found.parameters.layers
        if layer.shift_absorbed
        and not any(param.role == "bias" and param.parameter in found.parameters.reused for param in layer.params)
    )
    written = {label for axis in axes if axis.exponent == 1 for label in axis.scaling}
    return Structure(
        spec=spec,
        axes=tuple(axes),
        classes=exchange.classes,
        blocks=_on_axes(exchange.blocks, axes),
        # All that goes into an output is frozen; a factor that nothing reads ends in a normalisation.
        absorbed=frozenset(written - read - {FROZEN}),
        shifts=shifts,
    )


def _on_axes(blocks: Blocks, axes: Sequence[Axis]) -> Blocks:
    """Leave out labels that are on no axis, such as those of heads of which no parameter knows."""
    known = {label for axis in axes for label in axis.permutation}
    return tuple(tuple(tuple(label for label in block if label in known) for block in found) for found in blocks)


def _layer_spec(layer: FoundLayer, name: str, shapes: dict[str, tuple[int, ...]]) -> LayerSpec:
    if not layer.params:  # one of a parameter that only unknown operations use
        letters = LETTERS.split()[: len(shapes[layer.name])] or ["o"]
        params = [Param(role="shift", parameter=layer.name, axes=" ".join(letters), shape=shapes[layer.name])]
        return LayerSpec(name=name, filters=shapes[layer.name][0], params=params)
    order = ("kernel", "bias", "scale", "shift")
    params = sorted(layer.params, key=lambda param: order.index(param.role))
    params = [attrs.evolve(param, shape=shapes[param.parameter]) for param in params]
    filters = params[0].count(layer.groups)
    return LayerSpec(
        name=name,
        filters=filters,
        params=params,
        groups=layer.groups,
        norm=layer.norm,
        ops=tuple(dict.fromkeys(layer.ops)),
    )


def _unique(layer: FoundLayer, taken: Iterable[str]) -> str:
    if layer.name not in set(taken):
        return layer.name
    wanted = layer.params[0].parameter if layer.params else layer.name
    if layer.params and layer.params[0].rows:
        wanted += f"[{layer.params[0].rows[0]}:{layer.params[0].rows[1]}]"
    return wanted


def _merge_rows(parameters: Parameters, shapes: dict[str, tuple[int, ...]]) -> None:
    """Make one layer of a parameter where the rows that operations use do not make up all of it."""
    spans: dict[str, list[tuple[int, int]]] = {}
    sizes = {}
    for layer in parameters.layers:
        for param in layer.params:
            if param.rows is not None:
                spans.setdefault(param.parameter, []).append(param.rows)
                sizes[param.parameter] = shapes[param.parameter][param.letters.index("o")]
    for parameter, rows in spans.items():
        ends = [0, *(end for span in sorted(rows) for end in span), sizes[parameter]]
        if any(ends[k] != ends[k + 1] for k in range(0, len(ends), 2)):
            parameters.freeze_shared(parameter)
            for layer in parameters.layers:
                layer.params = [param for param in layer.params if param.parameter != parameter]
            parameters.layers[:] = [
                layer for layer in parameters.layers if layer.params or layer.name in parameters.unlabelled
            ]
            parameters.unlabelled.append(parameter)
            parameters.layers.append(FoundLayer(name=parameter, filters=0))


def _drop_needless_reads(parameters: Parameters) -> None:
    """Let no depthwise kernel before a BatchNorm make up for factors: each filter's is taken away behind it."""
    for layer in parameters.layers:
        for param in layer.params:
            key = AxisKey(param.parameter, param.rows, param.letters.index("o"), -1)
            before_norm = param.role == "kernel" and layer.norm == "batch" and param.parameter not in parameters.reused
            if before_norm and key in parameters.axes:
                axis = parameters.axes[key]
                labels = attrs.evolve(axis.labels, scale=uniform(axis.labels.shape))
                parameters.axes[key] = attrs.evolve(axis, labels=labels)


def _axes(found: Discovery, params: dict[str, Param]) -> tuple[list[Axis], set[int]]:
    """Return every axis of every parameter with labels, as often as its entries have several, and the labels read.

    What divides a product that is read is read as well, although its exponent is positive there.
    """
    units = found.units.lookup()
    scales, signs = _solve(found, params)
    axes, read = [], set[int]()
    for (parameter, rows, dim, exponent), axis in found.parameters.axes.items():
        param, labels = params[parameter], axis.labels
        # What a kernel reads with is written where the kernel is computed from its parameters.
        own = -1 if exponent == 1 and param.letters[dim] != "o" else exponent
        factors = _products(labels.scale, scales, exponent)
        flips = [sorted(product) for product in _products(labels.sign, signs, 1)]
        for power in (own, -own) if own else (0,):
            scaled = [_repeat(product, power) if own else [] for product in factors]
            signed = [_signs_of(flip, found.signs.joint, first=power == own) for flip in flips]
            for place in range(max([int(power == own), *map(len, scaled), *map(len, signed)])):
                first = power == own and place == 0
                moved = units[labels.unit.clamp(min=FROZEN)].tolist() if first else [FROZEN] * len(factors)
                permutation, scaling, sign = (
                    _pad(values, rows, param.known_shape[dim])
                    for values in (moved, _pick(scaled, place), _pick(signed, place))
                )
                axes.append(
                    Axis(
                        parameter=parameter,
                        dim=dim,
                        permutation=permutation,
                        scaling=scaling,
                        sign=sign,
                        exponent=power,
                        groups=axis.groups,
                    )
                )
                read |= set(scaling) if -1 in (own, power) else set()
    return axes, read


def _solve(found: Discovery, params: dict[str, Param]) -> tuple[list[Combination], list[Combination]]:
    """Solve factors and signs for free ones, which filters write in the order of `params`."""
    places = {parameter: place for place, parameter in enumerate(params)}
    axes = found.parameters.axes
    written = {
        key: axes[key].labels
        for key in sorted(axes, key=lambda key: places[key.parameter])
        if key.exponent == 1 and params[key.parameter].letters[key.dim] == "o"
    }
    used = [axis.labels for axis in axes.values()]
    scales = found.scales.solve([labels.scale for labels in written.values()], [labels.scale for labels in used])
    signs = found.signs.solve([labels.sign for labels in written.values()], [labels.sign for labels in used])
    roots = found.scales.lookup().tolist()
    rooted = {label for label, root in enumerate(roots[:-1]) if root in found.scales.rooted}
    for key, labels in written.items() if rooted else ():
        if rooted & set(labels.scale.tolist()):
            found.report("power", key.parameter, "what reads its factor would need a root of it")
    return scales, signs


def _products(labels: Tensor, solved: list[Combination], exponent: int) -> list[Combination]:
    """Return for each entry its product of free labels, to the power of an exponent."""
    return [
        {} if label < 0 else {free: power * exponent for free, power in solved[label].items()}
        for label in labels.tolist()
    ]


def _repeat(product: Combination, power: int) -> list[int]:
    """Return the labels of a product that have an exponent of this sign, each as often as the exponent says."""
    return [label for label, exponent in sorted(product.items()) for _ in range(int(exponent * power))]


def _signs_of(labels: list[int], joint: set[int], *, first: bool) -> list[int]:
    """Return the signs that go with the axis's own exponent, or with the other: of both kinds the joint go first."""
    own = [label for label in labels if label in joint]
    other = [label for label in labels if label not in joint]
    return (own or other) if first else other if own else []


def _pick(chosen: list[list[int]], place: int) -> list[int]:
    return [labels[place] if place < len(labels) else FROZEN for labels in chosen]


def _pad(values: list[int], rows: Rows, size: int) -> tuple[int, ...]:
    if rows is None or len(values) != rows[1] - rows[0] or len(values) == size:
        return tuple(values)
    return (*(FROZEN,) * rows[0], *values, *(FROZEN,) * (size - rows[1]))
