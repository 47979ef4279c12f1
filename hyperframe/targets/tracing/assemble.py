"""What tracing found, as a spec and a structure."""

from collections.abc import Iterable, Sequence

import attrs
import torch
from torch import Tensor, nn

from hyperframe.targets.params import Param
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure
from hyperframe.targets.tracing.factors import Combination
from hyperframe.targets.tracing.findings import FoundLayer
from hyperframe.targets.tracing.interchangeable import exchange_classes
from hyperframe.targets.tracing.state import Discovery

LETTERS = "o a c d e f h j"


def assembled(
    found: Discovery,
    module: nn.Module,
    *,
    name: str,
    input_shape: Sequence[int],
    outputs: int,
    logits: FoundLayer | None,
) -> Structure:
    """The structure, with the bound spec.

    Args:
        found: when all of the graph has been walked.
        module: for the shapes of its parameters.
        name: of the target.
        input_shape: of one input.
        outputs: how many there are.
        logits: the last layer, if its outputs are the network's.
    """
    shapes = {key: tuple(value.shape) for key, value in module.named_parameters()}
    _mend_rows(found, shapes)
    layers: list[LayerSpec] = []
    names: dict[int, str] = {}
    for layer in found.layers:
        names[id(layer)] = _unique(layer, names.values())
        layers.append(_layer_spec(layer, names[id(layer)], shapes))
    spec = TargetSpec(
        name=name,
        input_shape=tuple(input_shape),
        num_outputs=outputs,
        layers=layers,
        logits=None if logits is None else names[id(logits)],
    )
    _drop_needless_reads(found)
    classes = exchange_classes(found.units, found.trail)
    axes, read = _axes(found, {param.parameter: param for layer in layers for param in layer.params})
    shifts = tuple(
        names[id(layer)]
        for layer in found.layers
        if layer.shift_absorbed
        and not any(param.role == "bias" and param.parameter in found.reused for param in layer.params)
    )
    written = {label for axis in axes if axis.exponent == 1 for label in axis.scaling}
    return Structure(
        spec=spec,
        axes=tuple(axes),
        classes=classes,
        # All that goes into an output is frozen; a factor that nothing reads ends in a normalisation.
        absorbed=frozenset(written - read - {FROZEN}),
        shifts=shifts,
    )


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


def _mend_rows(found: Discovery, shapes: dict[str, tuple[int, ...]]) -> None:
    """Where the rows that operations use do not make up the whole parameter, all of it becomes one layer."""
    spans: dict[str, list[tuple[int, int]]] = {}
    sizes = {}
    for layer in found.layers:
        for param in layer.params:
            if param.rows is not None:
                spans.setdefault(param.parameter, []).append(param.rows)
                sizes[param.parameter] = shapes[param.parameter][param.letters.index("o")]
    for parameter, rows in spans.items():
        ends = [0, *(end for span in sorted(rows) for end in span), sizes[parameter]]
        if any(ends[k] != ends[k + 1] for k in range(0, len(ends), 2)):
            found.conflict(parameter)
            for layer in found.layers:
                layer.params = [param for param in layer.params if param.parameter != parameter]
            found.layers[:] = [layer for layer in found.layers if layer.params or layer.name in found.unlabelled]
            found.unlabelled.append(parameter)
            found.layers.append(FoundLayer(name=parameter, filters=0))


def _drop_needless_reads(found: Discovery) -> None:
    """A depthwise kernel before a BatchNorm need not make up for factors: each filter's is taken away behind it."""
    for layer in found.layers:
        for param in layer.params:
            key = (param.parameter, param.rows, param.letters.index("o"), -1)
            before_norm = param.role == "kernel" and layer.norm == "batch" and param.parameter not in found.reused
            if before_norm and key in found.axes:
                none = torch.full_like(found.axes[key].scale, FROZEN)
                found.axes[key] = attrs.evolve(found.axes[key], scale=none)


def _axes(found: Discovery, params: dict[str, Param]) -> tuple[list[Axis], set[int]]:
    """Every axis of every parameter with labels, as often as its entries have labels of one exponent; the labels read.

    What divides a product that is read is read as well, although its exponent is positive there.
    """
    units = found.units.lookup()
    scales, signs = _solved(found, params)
    axes, read = [], set[int]()
    for (parameter, rows, dim, exponent), labels in found.axes.items():
        param = params[parameter]
        # What a kernel reads with is written where the kernel is computed from its parameters.
        own = -1 if exponent == 1 and param.letters[dim] != "o" else exponent
        factors = _products(labels.scale, scales, exponent)
        flips = [sorted(product) for product in _products(labels.sign, signs, 1)]
        for power in (own, -own) if own else (0,):
            scaled = [_repeated(product, power) if own else [] for product in factors]
            # Of a sign that is joint times others, it is the joint one that is written.
            joint = [[label for label in labels if label in found.signs.joint] for labels in flips]
            other = [[label for label in labels if label not in found.signs.joint] for labels in flips]
            signed = [
                (one or two) if power == own else two if one else [] for one, two in zip(joint, other, strict=True)
            ]
            for place in range(max([int(power == own), *map(len, scaled), *map(len, signed)])):
                first = power == own and place == 0
                moved = units[labels.unit.clamp(min=FROZEN)].tolist() if first else [FROZEN] * len(factors)
                fields = [
                    _padded(values, rows, param.known_shape[dim])
                    for values in (moved, _each(scaled, place), _each(signed, place))
                ]
                axes.append(Axis.of(parameter, dim, fields, power, labels.groups))
                read |= set(fields[1]) if own == -1 or power == -1 else set()
    return axes, read


def _solved(found: Discovery, params: dict[str, Param]) -> tuple[list[Combination], list[Combination]]:
    """Factors and signs as products of free ones, which filters write in the order of `params`."""
    places = {parameter: place for place, parameter in enumerate(params)}
    written = [
        (parameter, labels)
        for (parameter, _, dim, exponent), labels in sorted(found.axes.items(), key=lambda item: places[item[0][0]])
        if exponent == 1 and params[parameter].letters[dim] == "o"
    ]
    used = found.axes.values()
    scales = found.scales.solved([labels.scale for _, labels in written], [labels.scale for labels in used])
    signs = found.signs.solved([labels.sign for _, labels in written], [labels.sign for labels in used])
    roots = found.scales.lookup().tolist()
    rooted = {label for label, root in enumerate(roots[:-1]) if root in found.scales.rooted}
    for parameter, labels in written if rooted else ():
        if rooted & set(labels.scale.tolist()):
            found.report("power", parameter, "what reads its factor would need a root of it")
    return scales, signs


def _products(labels: Tensor, solved: list[Combination], exponent: int) -> list[Combination]:
    """For each entry its product of free labels, to the power of an exponent."""
    return [
        {} if label < 0 else {free: power * exponent for free, power in solved[label].items()}
        for label in labels.tolist()
    ]


def _repeated(product: Combination, power: int) -> list[int]:
    """The labels of a product that have an exponent of this sign, each as often as the exponent says."""
    return [label for label, exponent in sorted(product.items()) for _ in range(int(exponent * power))]


def _each(chosen: list[list[int]], place: int) -> list[int]:
    return [labels[place] if place < len(labels) else FROZEN for labels in chosen]


def _padded(values: list[int], rows: tuple[int, int] | None, size: int) -> tuple[int, ...]:
    if rows is None or len(values) != rows[1] - rows[0] or len(values) == size:
        return tuple(values)
    return (*(FROZEN,) * rows[0], *values, *(FROZEN,) * (size - rows[1]))
