"""Slices of filters as images (a slice is a filter's kernel for one channel), and their spread over networks."""

from collections.abc import Mapping
from math import isqrt, prod

import torch
from torch import Tensor

from hyperframe.targets import LayerSpec, TargetSpec


def slice_shape(spec: TargetSpec, layer: LayerSpec) -> tuple[int, int, int] | None:
    """Return channels, height and width of a layer's filters as images; None where they are no images.

    Kernels of two-dimensional convolutions are images if they are larger than 1 × 1. So are the rows of a dense layer
    that reads the input, if it is an image [channels, height, width], or that reads one flattened unit space, if the
    entries of each channel fill a square.

    Example:
        >>> from hyperframe.targets.params import kernel
        >>> conv = LayerSpec(name="conv", filters=8, params=[kernel("weight", "o i h w", shape=(8, 3, 5, 5))])
        >>> slice_shape(TargetSpec(name="one", input_shape=(3, 32, 32), num_outputs=8, layers=[conv]), conv)
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
    return _dense_shape(spec, layer, channels) if not sizes else None


def _dense_shape(spec: TargetSpec, layer: LayerSpec, entries: int) -> tuple[int, int, int] | None:
    """Return the shape of the images that a dense layer with so many inputs reads, or None."""
    if not layer.reads:
        images = len(spec.input_shape) == 3 and entries == prod(spec.input_shape)
        return (spec.input_shape[0], spec.input_shape[1], spec.input_shape[2]) if images else None
    place = layer.reads[0]
    if len(layer.reads) > 1 or not isinstance(place, str) or "flatten" not in spec.unit(place).ops:
        return None
    channels = spec.unit(place).size
    side = isqrt(entries // channels)
    return (channels, side, side) if side > 1 and channels * side**2 == entries else None


def slices_of(spec: TargetSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the slices of all layers that have any: for each layer [networks, filters, channels, height, width]."""
    found = {}
    for layer in spec.layers:
        shape = slice_shape(spec, layer)
        if shape is not None:
            kernel = weights[layer.name][:, :, layer.columns["kernel"]]
            found[layer.name] = kernel.unflatten(-1, _stored_shape(layer, shape)).movedim(_channel_axis(layer), 2)
    return found


def _channel_axis(layer: LayerSpec) -> int:
    """Return the axis of the channels in a kernel [networks, filters, ...]; in most kernels it is the first one."""
    param = layer.param("kernel")
    assert param is not None
    rest = [letter for letter in param.letters if letter != "o"]
    return 2 + rest.index("i") if "i" in rest else 2


def _stored_shape(layer: LayerSpec, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return the shape with its axes in the kernel's own order."""
    sizes = list(shape[1:])
    sizes.insert(_channel_axis(layer) - 2, shape[0])
    return tuple(sizes)


def spreads(slices: Tensor) -> Tensor:
    """Return how much slices differ between networks, from 0 (not at all) to 1 (their mean is 0): [filters, channels].

    √(Σ variance over networks / Σ mean square over networks), with sums over the pixels of a slice. It does not change
    when a slice is multiplied by a number. A slice that is zero in all networks has 0.

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
