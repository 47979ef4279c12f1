"""Random affine maps of training images, each image its own."""

import math

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.options import option


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class AffineOptions:
    """Options: how far training images are moved at random; all zero leaves them as they are."""

    rotation: float = option(0.0, "training images turn by up to so many degrees", minimum=0, maximum=180)
    shear: float = option(0.0, "training images lean by up to so many degrees", minimum=0, below=90)
    zoom: float = option(0.0, "training images grow or shrink by up to this part", minimum=0, below=1)
    translation: float = option(0.0, "training images move by up to so many pixels", minimum=0)


def random_affine(images: Tensor, options: AffineOptions, rng: torch.Generator) -> Tensor:
    """Turn, lean, zoom and move each image by amounts drawn uniformly up to the options' limits.

    What comes in from beyond the edge is 0. Values between pixels are interpolated bilinearly.

    Args:
        images: shape [..., channels, height, width].
        options: the limits. Where all are zero, nothing is drawn and the images come back themselves.
        rng: on the images' device.

    References: P. Simard, D. Steinkraus, J. Platt (2003), Best Practices for Convolutional Neural Networks.

    Example:
        >>> image = torch.eye(3).view(1, 1, 3, 3)
        >>> random_affine(image, AffineOptions(), torch.Generator()) is image
        True
    """
    limits = (options.rotation, options.shear, options.zoom, options.translation)
    if not any(limits):
        return images
    flat = images.flatten(0, -4)
    drawn = 2 * torch.rand(5, len(flat), generator=rng, device=images.device, dtype=images.dtype) - 1
    angle = drawn[0] * math.radians(options.rotation)
    lean = (drawn[1] * math.radians(options.shear)).tan()
    size = 1 + drawn[2] * options.zoom
    height, width = images.shape[-2:]
    cos, sin = angle.cos() / size, angle.sin() / size
    # From places in the result to places in the image; both run from −1 to 1, whatever the image's shape.
    ratio = height / width
    rows = [
        torch.stack([cos, (lean * cos - sin) * ratio, drawn[3] * options.translation * 2 / width], -1),
        torch.stack([sin / ratio, lean * sin + cos, drawn[4] * options.translation * 2 / height], -1),
    ]
    grid = F.affine_grid(torch.stack(rows, -2), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False).view_as(images)
