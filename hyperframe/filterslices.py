"""Slices of filters, what a filter does to one channel, as images; and how much they differ between networks."""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from hyperframe.spec import LayerSpec, TargetSpec


def slice_shape(layer: LayerSpec, input_shape: Sequence[int]) -> tuple[int, int, int] | None:
    """Channels, height and width of a layer's filters as images; None where they are none.

    Kernels of two-dimensional convolutions are images if they are larger than 1 × 1; so are the rows of a dense layer
    that reads the input, where that is an image [channels, height, width].

    Example:
        >>> from hyperframe.params import kernel
        >>> conv = LayerSpec(name="conv", filters=8, params=[kernel("weight", "o i h w", shape=(8, 3, 5, 5))])
        >>> slice_shape(conv, (3, 32, 32))
        (3, 5, 5)
    """
    param = layer.param("kernel")
    if param is None:
        return None
    sizes = {letter: size for letter, size in zip(param.letters, param.known_shape, strict=True) if letter != "o"}
    if param.inputs_first:
        sizes["i"] //= layer.groups
    channels = sizes.pop("i", 1)
    if len(sizes) == 2:
        height, width = sizes.values()
        return (channels, height, width) if height * width > 1 else None
    if not sizes and not layer.reads and len(input_shape) == 3 and channels == prod(input_shape):
        return (input_shape[0], input_shape[1], input_shape[2])
    return None


def slices_of(spec: TargetSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All slices of all layers that have any: for each layer [networks, filters, channels, height, width]."""
    found = {}
    for layer in spec.layers:
        shape = slice_shape(layer, spec.input_shape)
        if shape is not None:
            kernel = weights[layer.name][:, :, layer.columns["kernel"]]
            found[layer.name] = kernel.unflatten(-1, _stored(layer, shape)).movedim(_channel_axis(layer), 2)
    return found


def _channel_axis(layer: LayerSpec) -> int:
    """Where the channels stand in a kernel [networks, filters, ...]; most kernels have them first."""
    param = layer.param("kernel")
    assert param is not None
    rest = [letter for letter in param.letters if letter != "o"]
    return 2 + rest.index("i") if "i" in rest else 2


def _stored(layer: LayerSpec, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape in the order in which the kernel's entries lie."""
    sizes = list(shape[1:])
    sizes.insert(_channel_axis(layer) - 2, shape[0])
    return tuple(sizes)


def spreads(slices: Tensor) -> Tensor:
    """How much slices differ between networks, from 0 (not at all) to 1 (they have no mean): [filters, channels].

    √(Σ variance over networks / Σ mean square over networks), sums over the pixels of a slice. Multiplying a slice by
    a number leaves it as it is. A slice that is zero in all networks has 0.

    Args:
        slices: [networks, filters, channels, height, width].

    Example:
        >>> images = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1)
        >>> spreads(torch.cat([images, images + 1], 1)).round(decimals=4).tolist()
        [[1.0], [0.7071]]
    """
    slices = slices.double()
    variance = slices.var(0, correction=0).sum((-2, -1))
    squares = slices.square().mean(0).sum((-2, -1))
    ratio: Tensor = torch.where(squares > 0, variance / squares.clamp(min=torch.finfo(squares.dtype).tiny), 0.0)
    return ratio.clamp(max=1).sqrt()
