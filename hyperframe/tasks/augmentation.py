"""Training images moved at random, each image by itself: affine maps; crops and flips."""

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


@attrs.frozen(kw_only=True, slots=False)  # with slots no class could have these and other options as bases
class CropOptions:
    """Options: how training images are cut out and flipped at random; by default they stay as they are."""

    crop: int = option(
        0,
        "training images are cut out of themselves with so many pixels of zeros around, at a random place",
        minimum=0,
        maximum=64,
    )
    flip: bool = option(False, "half of the training images, drawn at random, are mirrored left to right")


def random_crop(images: Tensor, options: CropOptions, rng: torch.Generator) -> Tensor:
    """Move each image by whole pixels, up to `crop` along each axis, and mirror half of them.

    What comes in from beyond the edge is 0.

    Args:
        images: shape [..., examples, channels, height, width].
        options: how far. Where nothing is to be done, nothing is drawn and the images come back themselves.
        rng: on the images' device.

    References: K. He, X. Zhang, S. Ren, J. Sun (2016), Deep Residual Learning, section 4.2.

    Example:
        >>> images = torch.tensor([[[1.0, 2.0, 3.0]]]).expand(3, 1, 1, 3)
        >>> random_crop(images, CropOptions(flip=True), torch.Generator().manual_seed(0)).flatten(1)
        tensor([[3., 2., 1.],
                [1., 2., 3.],
                [3., 2., 1.]])
    """
    if not options.crop and not options.flip:
        return images
    flat = images.flatten(0, -4)
    (count, _, height, width), border, device = flat.shape, options.crop, flat.device
    top, left = torch.randint(2 * border + 1, (2, count, 1), generator=rng, device=device)
    rows, columns = torch.arange(height, device=device) + top, torch.arange(width, device=device) + left
    if options.flip:
        mirrored = torch.rand(count, 1, generator=rng, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = F.pad(flat, (border, border, border, border)).flatten(2)
    places = rows[:, :, None] * (width + 2 * border) + columns[:, None]
    return padded.gather(2, places.flatten(1)[:, None].expand(-1, flat.shape[1], -1)).view_as(images)
