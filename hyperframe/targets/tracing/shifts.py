"""Biases that a BatchNorm takes away, wherever it comes behind them."""

import operator
from typing import Any, Literal

from hyperframe.targets.tracing.state import Discovery

Constant = Literal["channels", "examples"]
"""A shift is a constant of each channel, the same in all examples, or only the same for each place in all examples."""

POOLED = {
    *(f"{kind}_pool{n}d" for kind in ("adaptive_avg", "adaptive_max", "max") for n in (1, 2, 3)),
    *("_adaptive_avg_pool2d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d"),
}
SAME = {"clone", "contiguous", "alias", "neg", "add", "sub", "identity"}
LAID_OUT = {"view", "_unsafe_view", "reshape", "flatten", "unflatten", "permute", "transpose"}


def find_absorbed_shifts(graph: Any, found: Discovery) -> None:
    """Note for each layer with a bias whether all that sees its outputs takes a constant of each channel away.

    A shift passes through what shifts its outputs by a constant as well: sums, pooling, further layers without padding.
    """
    nodes = {node.name: node for node in graph.nodes}
    seen: set[int] = set()
    for name, layer in found.producers.items():
        if id(layer) not in seen and "bias" in layer.roles and layer.channel == 1:
            layer.shift_absorbed = _ends(nodes[name], "channels", found)
        seen.add(id(layer))


def _ends(node: Any, constant: Constant, found: Discovery) -> bool:
    """Whether a shift of a node's outputs reaches nothing but BatchNorms."""
    return bool(node.users) and all(_ends_in(user, node, constant, found) for user in node.users)


def _ends_in(user: Any, node: Any, constant: Constant, found: Discovery) -> bool:
    if user.op != "call_function":
        return False
    if user.name in found.absorbing:
        flat = node.meta["val"].dim() == 2  # a channel is then one place
        return user.args[0] is node and (constant == "channels" or flat)
    passed = _pass_on(user, node, constant)
    return passed is not None and _ends(user, passed, found)


def _pass_on(user: Any, node: Any, constant: Constant) -> Constant | None:
    """Return which kind of shift an input's shift is to an operation's outputs; None for anything but a constant."""
    name = getattr(getattr(user.target, "overloadpacket", None), "__name__", str(user.target))
    value, given = user.meta.get("val"), node.meta["val"]
    if value is None:  # an assertion
        return None
    if user.target is operator.getitem:
        return constant if user.args[1] == 0 else None
    if name in SAME:
        return constant if value.shape == given.shape else None
    if name in ("mul", "div"):
        return constant if user.args[0] is node and isinstance(user.args[1], int | float) else None
    if name == "cat":
        return constant if (user.args[1] if len(user.args) > 1 else 0) % value.dim() == 1 else None
    if name in LAID_OUT:
        return "examples" if value.shape[0] == given.shape[0] else None
    if name == "linear":  # whatever its kernel is, it is the same for all examples
        return ("channels" if value.dim() == 2 else "examples") if user.args[0] is node else None
    if constant == "examples":
        return None
    if name in POOLED:
        return constant
    if name.startswith("avg_pool"):
        plain = not any(user.args[3:]) if len(user.args) > 3 else True
        return constant if plain and not user.kwargs else None
    if name in ("mean", "amax", "amin"):
        dims = [dim % given.dim() for dim in user.args[1]] if len(user.args) > 1 and user.args[1] else [0]
        return constant if min(dims) > 1 else None
    if name in ("conv1d", "conv2d", "conv3d"):
        padding = user.args[4] if len(user.args) > 4 else 0
        unpadded = not any(padding) if isinstance(padding, list | tuple) else padding in (0, "valid")
        return constant if unpadded and user.args[0] is node else None
    return None
