"""The target `lenet`: the paper's LeNet for 3 × 32 × 32 images (Table 3)."""

from collections.abc import Sequence

import attrs
from torch import nn

from hyperframe import Component, hookimpl, option
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    classes: int = option(10, "number of outputs; null: the task's", minimum=2, of_task="num_outputs")


def build(options: Options) -> tuple[nn.Module, TargetSpec]:
    """Build two convolutions (5 × 5, not padded) with ReLU and 2 × 2 max-pooling, three dense layers: 62,006 weights.

    References: Table 3; Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Gradient-Based Learning Applied to Document
    Recognition.
    """
    spec = TargetSpec(
        name="lenet",
        input_shape=(3, 32, 32),
        num_outputs=options.classes,
        logits="layer5",
        units=[
            UnitSpec(name="layer1", size=6, ops=("relu", "max_pool")),
            UnitSpec(name="layer2", size=16, ops=("relu", "max_pool", "flatten")),
            UnitSpec(name="layer3", size=120, ops=("relu",)),
            UnitSpec(name="layer4", size=84, ops=("relu",)),
        ],
        layers=[
            _layer("layer1", 6, "0", "o i h w", writes=["layer1"]),
            _layer("layer2", 16, "3", "o i h w", reads=["layer1"], writes=["layer2"]),
            _layer("layer3", 120, "7", "o i", reads=["layer2"], writes=["layer3"]),
            _layer("layer4", 84, "9", "o i", reads=["layer3"], writes=["layer4"]),
            _layer("layer5", options.classes, "11", "o i", reads=["layer4"]),
        ],
    )
    module = nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, options.classes),
    )
    return module, spec


def _layer(
    name: str, filters: int, module: str, axes: str, reads: Sequence[str] = (), writes: Sequence[str] = ()
) -> LayerSpec:
    params = [kernel(f"{module}.weight", axes), bias(f"{module}.bias")]
    return LayerSpec(name=name, filters=filters, reads=reads, writes=writes, params=params)


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="lenet",
            factory=build,
            options=Options,
            summary="the paper's LeNet for 3 × 32 × 32 images: two convolutions, three dense layers",
            reference="Table 3",
        )
    ]
