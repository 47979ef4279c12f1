"""What tracing found, as a spec and a structure."""

from collections.abc import Iterable, Sequence

import attrs
import torch
from torch import Tensor, nn

from hyperframe.discovery import AxisLabels, Discovery, FoundLayer
from hyperframe.exchange import exchange_classes
from hyperframe.params import Param
from hyperframe.spec import LayerSpec, TargetSpec
from hyperframe.structure import FROZEN, Axis, Structure

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
    lookups = found.units.lookup(), found.scales.lookup(), found.signs.lookup()
    axes = []
    for (parameter, rows, dim, exponent), labels in found.axes.items():
        axes.append(_axis(parameter, rows, dim, exponent, labels, lookups, shapes[parameter][dim]))
    shifts = tuple(
        names[id(layer)]
        for layer in found.layers
        if layer.shift_absorbed
        and not any(param.role == "bias" and param.parameter in found.reused for param in layer.params)
    )
    # All that goes into an output is frozen; a factor that nothing reads ends in a normalisation.
    written, read = ({label for axis in axes if axis.exponent == sign for label in axis.scaling} for sign in (1, -1))
    return Structure(
        spec=spec,
        axes=tuple(axes),
        classes=classes,
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


def _axis(
    parameter: str,
    rows: tuple[int, int] | None,
    dim: int,
    exponent: int,
    labels: AxisLabels,
    lookups: tuple[Tensor, Tensor, Tensor],
    size: int,
) -> Axis:
    fields = []
    for lookup, values in zip(lookups, (labels.unit, labels.scale, labels.sign), strict=True):
        found = lookup[values.clamp(min=FROZEN)]
        if rows is not None and len(found) == rows[1] - rows[0] and len(found) < size:
            padded = torch.full((size,), FROZEN)
            padded[rows[0] : rows[1]] = found
            found = padded
        fields.append(tuple(found.tolist()))
    if exponent == 0:
        fields[1] = (FROZEN,) * len(fields[1])
    return Axis(
        parameter=parameter,
        dim=dim,
        permutation=fields[0],
        scaling=fields[1],
        sign=fields[2],
        exponent=exponent,
        groups=labels.groups,
    )
