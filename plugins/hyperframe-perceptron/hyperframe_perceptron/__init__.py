"""The target `perceptron`: a perceptron with one hidden layer."""

from math import prod

import attrs
from torch import nn

from hyperframe import Component, hookimpl, option
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    input_shape: tuple[int, ...] = option(
        (1, 8, 8), "shape of one input; null: the task's", minimum=1, of_task="input_shape"
    )
    hidden: int = option(32, "neurons of the hidden layer", minimum=1)
    classes: int = option(10, "number of outputs; null: the task's", minimum=1, of_task="num_outputs")


def build(options: Options) -> tuple[nn.Module, TargetSpec]:
    """Build the network, and the spec that describes it."""
    hidden, classes = options.hidden, options.classes
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(prod(options.input_shape), hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )
    first = [kernel("1.weight", "o i"), bias("1.bias")]
    last = [kernel("3.weight", "o i"), bias("3.bias")]
    spec = TargetSpec(
        name="perceptron",
        input_shape=options.input_shape,
        num_outputs=classes,
        logits="out",
        units=[UnitSpec(name="hidden", size=hidden, ops=["relu"])],
        layers=[
            LayerSpec(name="hidden", filters=hidden, writes=["hidden"], params=first),
            LayerSpec(name="out", filters=classes, reads=["hidden"], params=last),
        ],
    )
    return module, spec


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [Component(name="perceptron", factory=build, options=Options, summary="perceptron with one hidden layer")]
