"""The target `digits_cnn`: a small convolutional network for 8 × 8 digits."""

import attrs
from torch import nn

from hyperframe import Component, hookimpl, option
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    channels: tuple[int, ...] = option((12, 16), "filters of the two convolutions", minimum=1)

    def __attrs_post_init__(self) -> None:
        if len(self.channels) != 2:
            raise ValueError(f"channels: expected two numbers, but got {len(self.channels)}")


def build(options: Options) -> tuple[nn.Module, TargetSpec]:
    """Build two convolutions (3 × 3, padded) with ReLU and 2 × 2 max-pooling, and one dense layer."""
    first, second = options.channels
    spec = TargetSpec(
        name="digits_cnn",
        input_shape=(1, 8, 8),
        num_outputs=10,
        logits="out",
        units=[
            UnitSpec(name="conv1", size=first, ops=("relu", "max_pool")),
            UnitSpec(name="conv2", size=second, ops=("relu", "max_pool", "flatten")),
        ],
        layers=[
            LayerSpec(
                name="conv1", filters=first, writes=["conv1"], params=[kernel("0.weight", "o i h w"), bias("0.bias")]
            ),
            LayerSpec(
                name="conv2",
                filters=second,
                reads=["conv1"],
                writes=["conv2"],
                params=[kernel("3.weight", "o i h w"), bias("3.bias")],
            ),
            LayerSpec(name="out", filters=10, reads=["conv2"], params=[kernel("7.weight", "o i"), bias("7.bias")]),
        ],
    )
    module = nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * 2 * 2, 10),
    )
    return module, spec


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="digits_cnn",
            factory=build,
            options=Options,
            summary="two convolutions and a dense layer for 8 × 8 images",
        )
    ]
