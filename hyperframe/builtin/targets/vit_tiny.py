"""The target `vit_tiny`: a small vision transformer, traced."""

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe import Component, hookimpl, option, trace
from hyperframe.targets import Traced


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    input_shape: tuple[int, ...] = option(
        (1, 8, 8), "[channels, height, width] of the images; null: the task's", minimum=1, of_task="input_shape"
    )
    outputs: int = option(10, "number of outputs; null: the task's", minimum=1, of_task="num_outputs")
    patch: int = option(2, "height and width of a patch, in pixels; it divides the image's", minimum=1)
    width: int = option(32, "channels of a token; the heads divide them among themselves", minimum=1)
    heads: int = option(4, "heads of each attention", minimum=1)
    depth: int = option(2, "number of blocks", minimum=1)
    hidden: int = option(64, "units of the hidden layer of each block", minimum=1)

    def __attrs_post_init__(self) -> None:
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape: expected [channels, height, width], but got {list(self.input_shape)}")
        if any(size % self.patch for size in self.input_shape[1:]):
            height, width = self.input_shape[1:]
            raise ValueError(f"patch: {self.patch} does not divide images of {height} × {width} pixels")
        if self.width % self.heads:
            raise ValueError(f"heads: {self.heads} heads cannot have equal parts of {self.width} channels (width)")


class Attention(nn.Module):
    """Attention of several heads: queries, keys and values of one layer, and a layer that mixes what heads give.

    References: A. Vaswani et al. (2017), Attention Is All You Need.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Mix tokens [..., tokens, width]."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.out(mixed.transpose(-3, -2).flatten(-2))
        return result


class Block(nn.Module):
    """Attention and a perceptron, each behind a LayerNorm and added to what it reads."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on tokens [..., tokens, width]."""
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class VisionTransformer(nn.Module):
    """Patches made tokens with learnt positions, blocks, and a dense layer on the mean of the tokens.

    References: A. Dosovitskiy et al. (2021), An Image is Worth 16x16 Words.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        channels, height, width = options.input_shape
        tokens = height * width // options.patch**2
        self.patches = nn.Conv2d(channels, options.width, options.patch, options.patch)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, options.width))
        self.blocks = nn.Sequential(
            *(Block(options.width, options.heads, options.hidden) for _ in range(options.depth))
        )
        self.norm = nn.LayerNorm(options.width)
        self.out = nn.Linear(options.width, options.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs [examples, outputs] of images [examples, channels, height, width]."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        result: Tensor = self.out(self.norm(self.blocks(tokens)).mean(1))
        return result


def build(options: Options) -> Traced:
    """Build the network; with the options as they are it has 18,154 weights."""
    return trace(VisionTransformer(options), options.input_shape, "vit_tiny")


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="vit_tiny",
            factory=build,
            options=Options,
            summary="a small vision transformer, 18,154 weights for 8 × 8 images",
        )
    ]
