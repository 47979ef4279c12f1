"""Training images moved at random, each image by itself: affine maps; crops and flips; and whether inputs are moved."""

import math
from collections.abc import Callable, Sequence

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.options import option
from hyperframe.runtime.rng import stream

COPIES, MOST_NUMBERS = 64, 1 << 22
"""On so many copies of an example an augmentation is tried, or on as many as have so many numbers."""

NOTHING = 1e-3
"""The part of the greatest difference that counts as none."""


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


def draw_tried(inputs: Tensor, rng: torch.Generator) -> Tensor:
    """Draw the numbers of examples, with repetitions, on which an augmentation of inputs [examples, …] is tried."""
    copies = max(1, min(COPIES, MOST_NUMBERS // inputs[0].numel()))
    return torch.randint(len(inputs), (copies,), generator=rng)


def moves_places(
    augment: Callable[[Tensor, torch.Generator], Tensor], inputs: Tensor, places: Sequence[int], seed: int = 0
) -> bool:
    """Whether an augmentation carries what stands at a place of inputs to another place.

    Copies of an example are varied, once as they are and once with another value at one place, by the same random
    numbers. Where these differ at a few places, and hardly at the one, what stood there has gone. Changes of values
    alone, such as noise, contrast or blur, leave a difference at the place, or make one nearly everywhere.

    Args:
        augment: as `Task.augment`.
        inputs: some examples [examples, *input_shape], with places as their last axes.
        places: sizes of the places that have labels; where they do not divide those of the inputs' last axes, inputs
            have no such places, and nothing is said of them.
        seed: of the places that are tried, and of the augmentation.

    Example:
        >>> images = torch.arange(12.0).view(1, 1, 3, 4)
        >>> flip = lambda x, rng: random_crop(x, CropOptions(flip=True), rng)
        >>> noise = lambda x, rng: x + torch.randn(x.shape, generator=rng)
        >>> moves_places(flip, images, (3, 4)), moves_places(noise, images, (3, 4))
        (True, False)
    """
    axes, sizes = len(places), tuple(inputs.shape[1:])[-len(places) :]
    if len(sizes) < axes or any(size % own for size, own in zip(sizes, places, strict=True)):
        return False
    rng = stream(seed, "places that are tried")
    tried = draw_tried(inputs, rng)
    copies, x = len(tried), inputs[tried.to(inputs.device)]
    values = x.flatten(-axes).reshape(copies, -1, math.prod(sizes))  # [copies, channels, places]
    rows = torch.arange(copies, device=x.device)
    chosen = torch.randint(values.shape[2], (copies,), generator=rng).to(x.device)
    unlike = (values - values[rows, :, chosen][..., None]).abs().sum(1).argmax(1)
    changed = values.clone()
    changed[rows, :, chosen] = values[rows, :, unlike]
    one, other = (
        augment(given, stream(seed, "augmentation", x.device)).reshape(values.shape).double()
        for given in (x, changed.reshape(x.shape))
    )
    difference = (one - other).abs().sum(1)
    most, there = difference.amax(1), difference[rows, chosen]
    few = (difference > NOTHING * most[:, None]).sum(1) <= values.shape[2] / 2
    return bool(((there < most / 2) & few).any())
