"""The target `unet_tiny`: a U-Net for small images, with a class for each pixel."""

import attrs
import torch
from torch import Tensor, nn

from hyperframe import Component, hookimpl, option, trace
from hyperframe.targets import Traced


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    input_shape: tuple[int, ...] = option(
        (1, 32, 32), "channels, height and width of one image; null: the task's", minimum=1, of_task="input_shape"
    )
    classes: int = option(4, "number of classes of a pixel; null: the task's", minimum=2, of_task="num_outputs")
    channels: tuple[int, ...] = option((8, 16, 32), "filters at full, half and quarter resolution", minimum=1)

    def __attrs_post_init__(self) -> None:
        if len(self.input_shape) != 3 or any(size % 4 for size in self.input_shape[1:]):
            raise ValueError(
                "input_shape: expected channels, and height and width that are multiples of 4, but got "
                f"{list(self.input_shape)}"
            )
        if len(self.channels) != 3:
            raise ValueError(f"channels: expected three numbers, but got {len(self.channels)}")


class Stage(nn.Sequential):
    """Two convolutions of 3 × 3, each with a BatchNorm and a ReLU."""

    def __init__(self, inputs: int, channels: int) -> None:
        parts: list[nn.Module] = []
        for read in (inputs, channels):
            parts += [nn.Conv2d(read, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        super().__init__(*parts)


class UNet(nn.Module):
    """Three resolutions: what the way down found at each is put beside what comes up from below.

    References: O. Ronneberger, P. Fischer, T. Brox (2015), U-Net: Convolutional Networks for Biomedical Image
    Segmentation.
    """

    def __init__(self, inputs: int, classes: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        full, half, quarter = channels
        self.down1, self.down2, self.bottom = Stage(inputs, full), Stage(full, half), Stage(half, quarter)
        self.up2, self.up1 = Stage(quarter + half, half), Stage(half + full, full)
        self.pool, self.larger = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.out = nn.Conv2d(full, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images [examples, channels, height, width] give logits [examples, classes, height, width]."""
        full = self.down1(x)
        half = self.down2(self.pool(full))
        below = self.larger(self.bottom(self.pool(half)))
        below = self.larger(self.up2(torch.cat([below, half], 1)))
        outputs: Tensor = self.out(self.up1(torch.cat([below, full], 1)))
        return outputs


def build(options: Options) -> Traced:
    """Build the network, and find its symmetries."""
    module = UNet(options.input_shape[0], options.classes, options.channels)
    return trace(module, options.input_shape, "unet_tiny")


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="unet_tiny",
            factory=build,
            options=Options,
            summary="U-Net with three resolutions for small images, a class for each pixel",
            reference="O. Ronneberger, P. Fischer, T. Brox (2015), U-Net",
        )
    ]
