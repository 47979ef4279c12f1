"""Low-rank adapters: dense and convolution layers whose kernels are given, and whose changes are generated."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from hyperframe.targets.spec import LayerSpec, TargetSpec

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that can have an adapter; their kernels have the outputs first."""

CHANGE = 0.1
"""Size of the first changes, as a part of a kernel whose entries have the variance 1 / fan-in."""

ORIGINAL = "original"
OF_ADAPTER = ".parametrizations.weight.0."


class LowRank(nn.Module):
    """Adds a change of low rank to a kernel: W + c U D, with U [outputs, rank] and D [rank, fan-in].

    c is such that, for entries of U with the variance 1 / rank and of D with 1 / fan-in, the change is `CHANGE` times a
    kernel that keeps the size of signals. U and D are generated; the same change comes of U R and R⁻¹ D for every
    invertible R, of which tracing finds permutations and factors.

    References: E. Hu et al. (2022), LoRA: Low-Rank Adaptation of Large Language Models.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> change = LowRank(layer.weight, rank=1)
        >>> change(layer.weight).shape
        torch.Size([2, 3])
    """

    def __init__(self, kernel: Tensor, rank: int) -> None:
        super().__init__()
        outputs, fan_in = len(kernel), kernel[0].numel()
        rank = min(rank, outputs, fan_in)
        self.down = nn.Parameter(torch.randn(rank, fan_in, dtype=kernel.dtype) / math.sqrt(fan_in))
        self.up = nn.Parameter(torch.randn(outputs, rank, dtype=kernel.dtype) / math.sqrt(rank))

    def forward(self, kernel: Tensor) -> Tensor:
        """Return the changed kernel, in its shape."""
        return kernel + CHANGE * (self.up @ self.down).view(kernel.shape)


def adaptable(module: nn.Module) -> set[str]:
    """Find the names of kernels that can have an adapter; none that several layers share."""
    names: dict[int, list[str]] = {}
    for path, part in module.named_modules():
        if isinstance(part, LAYERS) and not parametrize.is_parametrized(part):
            names.setdefault(id(part.weight), []).append(f"{path}.weight" if path else "weight")
    return {own[0] for own in names.values() if len(own) == 1}


def add_adapters(module: nn.Module, kernels: Iterable[str], rank: int) -> None:
    """Give layers adapters, in place; their kernels become constants with the name `….original`.

    Args:
        module: the network.
        kernels: names of kernels, of those that `adaptable` finds.
        rank: of the changes, as far as a kernel has so many rows and columns.
    """
    for name in kernels:
        layer: Any = module.get_submodule(name.rpartition(".")[0])
        layer.weight.requires_grad_(False)
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def merge_adapters(module: nn.Module) -> None:
    """Make adapters part of their kernels, in place: the module is an ordinary one again."""
    for part in filter(_is_adapted, list(module.modules())):
        kernel: Any = part.weight
        # torch's own way back takes the kernel from the class, which copies of the module share.
        part.__class__ = type(part).__bases__[0]
        del part._modules["parametrizations"]
        others = dict(part._parameters)
        part._parameters.clear()
        part._parameters.update(weight=nn.Parameter(kernel.detach().clone()), **others)


def merge_state(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make adapters part of their kernels in a state_dict of a module that has some.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> add_adapters(layer, ["weight"], 1)
        >>> sorted(layer.state_dict()), sorted(merge_state(layer, layer.state_dict()))[-1]
        (['bias', 'parametrizations.weight.0.down', ..., 'parametrizations.weight.original'], 'weight')
    """
    merged = dict(state)
    for path, part in module.named_modules(remove_duplicate=False):
        if _is_adapted(part):
            adapter: Any = part.parametrizations["weight"][0]
            start = f"{path}.parametrizations.weight." if path else "parametrizations.weight."
            factors = {name: merged.pop(f"{start}0.{name}") for name in ("down", "up")}
            kernel = merged.pop(f"{start}{ORIGINAL}")
            merged[f"{path}.weight" if path else "weight"] = functional_call(adapter, factors, (kernel,)).detach()
    return merged


def has_adapters(module: nn.Module) -> bool:
    """Whether a layer of a module has an adapter."""
    return any(map(_is_adapted, module.modules()))


def run_apart(module: nn.Module) -> None:
    """Let layers with adapters apply the given kernel and the change one after the other, in place.

    It is the same sum, y = W x + c U (D x), for less: the changed kernel is not made, has no gradient at all of its
    entries, and one convolution with W serves the images of many networks. A layer with groups runs as before.
    """
    for part in filter(_is_adapted, module.modules()):
        if isinstance(part, nn.Linear):
            part.forward = partial(_dense_apart, part)  # type: ignore[method-assign]
        elif getattr(part, "groups", None) == 1:
            part.forward = partial(_convolution_apart, part)


def _dense_apart(layer: Any, x: Tensor) -> Tensor:
    kernel, change = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    changed = F.linear(F.linear(x, change.down), CHANGE * change.up)
    return F.linear(x, kernel, layer.bias) + changed


def _convolution_apart(layer: Any, x: Tensor) -> Tensor:
    kernel, change = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    hidden = layer._conv_forward(x, change.down.view(-1, *kernel.shape[1:]), None)
    changed: Tensor = layer._conv_forward(x, kernel, layer.bias)
    return changed + torch.einsum("or,nr...->no...", CHANGE * change.up, hidden)


def _is_adapted(part: nn.Module) -> bool:
    return parametrize.is_parametrized(part, "weight") and isinstance(part.parametrizations["weight"][0], LowRank)  # type: ignore[index]


def given_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Give kernels of layers with adapters the names that they have without; return these names as well.

    Example:
        >>> given_names({"fc.bias": torch.ones(1), "fc.parametrizations.weight.original": torch.ones(1, 2)})[1]
        ['fc.weight']
    """
    ending = f"parametrizations.weight.{ORIGINAL}"
    named = {name: name.removesuffix(ending) + "weight" if name.endswith(ending) else name for name in state}
    return {named[name]: value for name, value in state.items()}, [new for name, new in named.items() if new != name]


def is_of_adapter(name: str) -> bool:
    """Whether a parameter's name is that of U or D of an adapter."""
    return OF_ADAPTER in f".{name}"


def with_adapters(spec: TargetSpec) -> TargetSpec:
    """Return the traced spec of a network with adapters, in which D is a kernel of the layer's inputs, not a table.

    Tracing sees that nothing is multiplied with it before it is multiplied itself, and generators would begin it at 0.
    U and D of a layer are called `LAYER.up` and `LAYER.down`.
    """
    return attrs.evolve(spec, layers=tuple(map(_with_adapter, spec.layers)))


def _with_adapter(layer: LayerSpec) -> LayerSpec:
    path, of_adapter, factor = f".{layer.params[0].parameter}".rpartition(OF_ADAPTER)
    if not of_adapter:
        return layer
    params = [attrs.evolve(param, role="kernel", axes="o i") for param in layer.params]
    return attrs.evolve(layer, name=f"{path}.{factor}".removeprefix("."), params=params)
