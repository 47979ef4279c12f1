"""Images made worse, little by little: turned, noisy, blurred, pale. Strengths are relative to size and range."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

DEGREES = 10.0
NOISE = 0.08
BLUR = 0.02
PALENESS = 0.18
"""What strength 1 is of each; strength 5 is five times that."""

Corruption = Callable[[Tensor, float, tuple[float, float], torch.Generator], Tensor]


def rotation(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Images turned by 10° · strength, each to the left or the right at random; what comes in is the least number."""
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
    """Gaussian noise on each number, its standard deviation 0.08 · strength of the range; kept within the limits."""
    deviation = NOISE * strength * (limits[1] - limits[0])
    noisy = x + deviation * torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    return noisy.clamp(*limits)


def blur(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """A Gaussian blur with a standard deviation of 0.02 · strength of the shorter side."""
    from torchvision.transforms import functional  # noqa: PLC0415  (slow to import)

    deviation = BLUR * strength * min(x.shape[-2:])
    # Three deviations to each side, but no more than a reflection at the edge can give.
    reach = min(math.ceil(3 * deviation), min(x.shape[-2:]) - 1)
    blurred: Tensor = functional.gaussian_blur(x, [2 * reach + 1] * 2, [deviation] * 2)
    return blurred


def contrast(x: Tensor, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Images drawn to their own mean m: m + (1 − 0.18 · strength) · (x − m); at strength 5 a tenth is left."""
    mean = x.mean((-3, -2, -1), keepdim=True)
    return mean + (1 - PALENESS * strength) * (x - mean)


CORRUPTIONS: dict[str, Corruption] = {"rotation": rotation, "noise": noise, "blur": blur, "contrast": contrast}


def corrupted(x: Tensor, name: str, strength: float, limits: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Images with one of `CORRUPTIONS`.

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
        >>> corrupted(image, "contrast", 5, (0.0, 1.0), torch.Generator()).flatten().tolist()
        [0.44999998807907104, 0.550000011920929]
    """
    return CORRUPTIONS[name](x, strength, limits, rng) if strength else x
