"""The targets `resnet20` and `resnet32`: residual networks for small images (Table 4)."""

from collections import OrderedDict
from functools import partial
from typing import Literal

import attrs
import torch.nn.functional as F
from torch import Tensor, nn

from hyperframe import Component, hookimpl, option, trace
from hyperframe.targets import Traced

STAGES = (16, 32, 64)


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    input_shape: tuple[int, ...] = option(
        (3, 32, 32), "channels, height and width of one image; null: the task's", minimum=1, of_task="input_shape"
    )
    outputs: int = option(10, "number of outputs; null: the task's", minimum=1, of_task="num_outputs")
    shortcut: Literal["projection", "zero_padded"] = option(
        "projection",
        "how a shortcut gets more channels: projection, a convolution with BatchNorm; zero_padded, channels of zeros",
    )

    def __attrs_post_init__(self) -> None:
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape: expected channels, height and width, but got {list(self.input_shape)}")


class ZeroPadded(nn.Module):
    """A shortcut that keeps every second pixel and adds channels of zeros, half of them before and half behind.

    References: K. He, X. Zhang, S. Ren, J. Sun (2016), Deep Residual Learning, option A.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return images [examples, channels, height, width] with zeros for the new channels."""
        new = self.channels - x.shape[1]
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, new // 2, new - new // 2))


class Block(nn.Module):
    """A residual block: two convolutions of 3 × 3 with BatchNorm, whose output is added to the block's input."""

    def __init__(self, inputs: int, channels: int, shortcut: str) -> None:
        super().__init__()
        wider = channels != inputs
        self.conv1 = nn.Conv2d(inputs, channels, 3, 2 if wider else 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if wider and shortcut == "projection":
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, channels, 1, 2, bias=False), nn.BatchNorm2d(channels))
        elif wider:
            self.shortcut = ZeroPadded(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def build(blocks: int, options: Options) -> Traced:
    """Build a convolution, three stages of `blocks` blocks with 16, 32 and 64 channels, mean pooling, a dense layer."""
    inputs = STAGES[0]
    parts: dict[str, nn.Module] = {
        "conv": nn.Conv2d(options.input_shape[0], inputs, 3, 1, 1, bias=False),
        "bn": nn.BatchNorm2d(inputs),
        "relu": nn.ReLU(),
    }
    for number, channels in enumerate(STAGES, 1):
        stage = [Block(inputs if block == 0 else channels, channels, options.shortcut) for block in range(blocks)]
        parts[f"stage{number}"] = nn.Sequential(*stage)
        inputs = channels
    parts |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "out": nn.Linear(inputs, options.outputs)}
    return trace(nn.Sequential(OrderedDict(parts)), options.input_shape, f"resnet{6 * blocks + 2}")


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the targets."""
    return [
        Component(
            name=f"resnet{6 * blocks + 2}",
            factory=partial(build, blocks),
            options=Options,
            summary=f"residual network of {6 * blocks + 2} layers for small images, {weights} weights",
            reference="Table 4",
        )
        for blocks, weights in ((3, "272,474"), (5, "466,906"))
    ]
