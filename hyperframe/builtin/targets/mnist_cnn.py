"""The target `mnist_cnn`: the paper's network for MNIST (Table 2)."""

from torch import nn

from hyperframe import Component, hookimpl
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel
from hyperframe.types import NoOptions

SPEC = TargetSpec(
    name="mnist_cnn",
    input_shape=(1, 28, 28),
    num_outputs=10,
    logits="layer4",
    units=[
        UnitSpec(name="layer1", size=32, ops=("max_pool", "relu")),
        UnitSpec(name="layer2", size=16, ops=("max_pool", "relu", "flatten")),
        UnitSpec(name="layer3", size=8, ops=("relu",)),
    ],
    layers=[
        LayerSpec(name="layer1", filters=32, writes=["layer1"], params=[kernel("0.weight", "o i h w"), bias("0.bias")]),
        LayerSpec(
            name="layer2",
            filters=16,
            reads=["layer1"],
            writes=["layer2"],
            params=[kernel("3.weight", "o i h w"), bias("3.bias")],
        ),
        LayerSpec(
            name="layer3",
            filters=8,
            reads=["layer2"],
            writes=["layer3"],
            params=[kernel("7.weight", "o i"), bias("7.bias")],
        ),
        LayerSpec(name="layer4", filters=10, reads=["layer3"], params=[kernel("9.weight", "o i"), bias("9.bias")]),
    ],
)


def build(options: NoOptions) -> tuple[nn.Module, TargetSpec]:
    """Build two convolutions (5 × 5, padded) with ReLU and 2 × 2 max-pooling, two dense layers: 20,018 weights."""
    module = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(32, 16, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, 8),
        nn.ReLU(),
        nn.Linear(8, 10),
    )
    return module, SPEC


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="mnist_cnn",
            factory=build,
            summary="the paper's MNIST network: two convolutions, two dense layers, 20,018 weights",
            reference="Table 2",
        )
    ]
