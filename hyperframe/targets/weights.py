"""Weights, parameters, flat vectors and state_dicts: one into the other, bit for bit.

`Weights` hold each layer's filters as rows, which is what generators and gauges work on. `unpack` turns them into the
module's own parameters, which is what the target runs on, and `pack` is its inverse.
"""

from collections.abc import Mapping
from functools import lru_cache

import attrs
import torch
from einops import rearrange
from torch import Tensor

from hyperframe.errors import SpecError
from hyperframe.targets.params import Param
from hyperframe.targets.spec import LayerSpec, TargetSpec
from hyperframe.types import Weights


@attrs.frozen(kw_only=True, eq=False)
class _Claim:
    """Where a parameter's entries (or some of its rows) stand in a layer's filters."""

    layer: str
    columns: slice
    rows: tuple[int, int] | None
    packing: str
    unpacking: str
    sizes: dict[str, int]


def _claim(layer: LayerSpec, param: Param) -> _Claim:
    letters = param.letters
    taken = " ".join(letter for letter in letters if letter != "o")
    sizes = {letter: size for letter, size in zip(letters, param.known_shape, strict=True) if letter != "o"}
    if param.inputs_first:
        # Transposed and grouped: the module keeps [groups·i, o, …]; group g's filters read group g's inputs.
        parameter = "b " + " ".join("(g i)" if letter == "i" else letter for letter in letters)
        filters = f"b (g o) ({taken})"
        sizes |= {"i": sizes["i"] // layer.groups, "g": layer.groups}
    else:
        parameter, filters = f"b {param.axes}", f"b o ({taken})"
    return _Claim(
        layer=layer.name,
        columns=layer.columns[param.role],
        rows=param.rows,
        packing=f"{parameter} -> {filters}",
        unpacking=f"{filters} -> {parameter}",
        sizes=sizes,
    )


def rearrange_claim(layer: LayerSpec, param: Param, values: Tensor) -> Tensor:
    """Lay one parameter's values, in its own shape, out as the layer's filters see them: [filters, entries]."""
    claim = _claim(layer, param)
    if claim.rows is not None:
        values = values.narrow(param.letters.index("o"), claim.rows[0], claim.rows[1] - claim.rows[0])
    packed: Tensor = rearrange(values[None], claim.packing, **claim.sizes)[0]
    return packed


@lru_cache(maxsize=64)
def _claims(spec: TargetSpec) -> dict[str, list[_Claim]]:
    claims: dict[str, list[_Claim]] = {}
    for layer in spec.layers:
        for param in layer.params:
            claims.setdefault(param.parameter, []).append(_claim(layer, param))
    for claimed in claims.values():
        claimed.sort(key=lambda claim: claim.rows or (0, 0))
    return claims


def unpack(spec: TargetSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn weights into the module's parameters.

    Args:
        spec: a spec that is bound to its module.
        weights: for each layer [batch, filters, filter_size].

    Returns:
        For each of the module's parameters a tensor [batch, *shape]: views where the layout allows it.

    Example:
        >>> from hyperframe.targets.params import kernel
        >>> layer = LayerSpec(name="fc", filters=2, params=[kernel("weight", "o i", shape=(2, 3))])
        >>> spec = TargetSpec(name="one", input_shape=(3,), num_outputs=2, layers=[layer])
        >>> unpack(spec, {"fc": torch.zeros(5, 2, 3)})["weight"].shape
        torch.Size([5, 2, 3])
    """
    parameters = {}
    for name, claimed in _claims(spec).items():
        parts = [
            rearrange(weights[claim.layer][:, :, claim.columns], claim.unpacking, **claim.sizes) for claim in claimed
        ]
        parameters[name] = parts[0] if len(parts) == 1 else torch.cat(parts, _filter_axis(spec, name))
    return parameters


def pack(spec: TargetSpec, parameters: Mapping[str, Tensor]) -> Weights:
    """Turn the module's parameters, each [batch, *shape], into weights; the inverse of `unpack`, bit for bit."""
    columns: dict[str, dict[int, Tensor]] = {layer.name: {} for layer in spec.layers}
    for name, claimed in _claims(spec).items():
        if name not in parameters:
            raise SpecError(f"target '{spec.name}': parameter '{name}' is missing")
        for claim in claimed:
            values = parameters[name]
            if claim.rows is not None:
                first, end = claim.rows
                values = values.narrow(_filter_axis(spec, name), first, end - first)
            columns[claim.layer][claim.columns.start] = rearrange(values, claim.packing, **claim.sizes)
    return {layer: torch.cat([parts[start] for start in sorted(parts)], 2) for layer, parts in columns.items()}


def _filter_axis(spec: TargetSpec, parameter: str) -> int:
    params = (param for layer in spec.layers for param in layer.params if param.parameter == parameter)
    return next(params).letters.index("o") + 1


def flatten(spec: TargetSpec, weights: Mapping[str, Tensor]) -> Tensor:
    """Lay all weights of a network out in one row, layer after layer: [batch, num_weights]."""
    return torch.cat([weights[layer.name].flatten(1) for layer in spec.layers], 1)


def unflatten(spec: TargetSpec, flat: Tensor) -> Weights:
    """Undo `flatten`, bit for bit; the layers are views of the rows."""
    parts = flat.split([layer.num_weights for layer in spec.layers], 1)
    return {
        layer.name: rearrange(part, "batch (filters size) -> batch filters size", filters=layer.filters)
        for layer, part in zip(spec.layers, parts, strict=True)
    }


def slice_weights(weights: Mapping[str, Tensor], networks: slice | Tensor) -> Weights:
    """Take some networks of a batch."""
    return {layer: value[networks] for layer, value in weights.items()}


def concatenate(parts: list[Weights]) -> Weights:
    """Join several batches of weights to one."""
    return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}


def to_state_dict(
    spec: TargetSpec, weights: Mapping[str, Tensor], index: int, statistics: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Make one network a state_dict of the target's module: its parameters and, where given, its statistics."""
    one = unpack(spec, slice_weights(weights, slice(index, index + 1)))
    state = {name: value[0].clone() for name, value in one.items()}
    state.update({name: value[index].clone() for name, value in (statistics or {}).items()})
    return state


def from_state_dicts(spec: TargetSpec, states: list[Mapping[str, Tensor]]) -> Weights:
    """Make weights of several networks' state_dicts; buffers and constants in them are passed over."""
    names = _claims(spec)
    for state in states:
        missing = [name for name in names if name not in state]
        if missing:
            raise SpecError(f"target '{spec.name}': the state_dict has no parameter '{missing[0]}'")
    return pack(spec, {name: torch.stack([state[name] for state in states]) for name in names})


def batch_size(weights: Mapping[str, Tensor]) -> int:
    """Return the number of networks in a batch of weights."""
    return len(next(iter(weights.values())))
