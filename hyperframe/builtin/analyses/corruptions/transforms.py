"""Corruptions of images: rotation, noise, blur, low contrast; strengths are relative to the images' size and range."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

DEGREES = 10.0
NOISE = 0.08
BLUR = 0.02
PALENESS = 0.18
"""The degrees, and the parts of range or side, of strength 1 of each corruption; strength 5 is five times that."""

Corruption = Callable[[Tensor, float, tuple[float, float], torch.Generator], Tensor]


def rotation(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Rotate each image by 10° · strength, to the left or the right at random; gaps are filled with the lower limit."""
    from torchvision.transforms import InterpolationMode, functional  # noqa: PLC0415  (slow to import)

    left = torch.rand(len(x), generator=rng, device=x.device) < 0.5
    turned = x.clone()
    for which, sign in ((left, 1), (~left, -1)):
        if which.any():
            turned[which] = (
                functional.rotate(x[which] - limits[0], sign * DEGREES * strength, InterpolationMode.BILINEAR)
                + limits[0]
            )
    return turned


def noise(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Add Gaussian noise with a standard deviation of 0.08 · strength of the range; clamp to the limits."""
    deviation = NOISE * strength * (limits[1] - limits[0])
    noisy = x + deviation * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    return noisy.clamp(*limits)


def blur(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Blur with a Gaussian whose standard deviation is 0.02 · strength of the shorter side."""
    from torchvision.transforms import functional  # noqa: PLC0415  (slow to import)

    deviation = BLUR * strength * min(x.shape[-2:])
    # Three deviations to each side, but no more than reflecting the image at its edge can fill.
    reach = min(math.ceil(3 * deviation), min(x.shape[-2:]) - 1)
    blurred: Tensor = functional.gaussian_blur(x, [2 * reach + 1] * 2, [deviation] * 2)
    return blurred


def contrast(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Lower the contrast about each image's mean m: m + (1 − 0.18 · strength) · (x − m); a tenth is left at 5."""
    mean = x.mean((-3, -2, -1), keepdim=True)
    return mean + (1 - PALENESS * strength) * (x - mean)


CORRUPTIONS: dict[str, Corruption] = {"rotation": rotation, "noise": noise, "blur": blur, "contrast": contrast}


def corrupt(x: Tensor, name: str, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Apply one of `CORRUPTIONS` to images.

    Args:
        x: images [examples, channels, height, width].
        name: of the corruption.
        strength: 0, which leaves them as they are, to 5.
        limits: the least and the greatest number of an image of the task.
        rng: on the images' device.

    Returns:
        Images of the same shape.

    References: D. Hendrycks, T. Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions.

    Example:
        >>> image = torch.tensor([[[[0.0, 1.0]]]])
        >>> corrupt(image, "contrast", 5, (0.0, 1.0), torch.Generator()).flatten().tolist()
        [0.44999998807907104, 0.550000011920929]
    """
    return CORRUPTIONS[name](x, strength, limits, rng) if strength else x
