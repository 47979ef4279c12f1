"""The target `mlp`: a perceptron with any number of hidden layers, for vectors or images."""

from itertools import pairwise
from math import prod
from typing import Literal

import attrs
from torch import nn

from hyperframe import Component, hookimpl, option
from hyperframe.targets import LayerSpec, TargetSpec, UnitSpec, bias, kernel

# The names are also those of the operations in a spec.
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    input_shape: tuple[int, ...] = option(
        (1, 8, 8), "shape of one input; null: the task's", minimum=1, of_task="input_shape"
    )
    hidden: tuple[int, ...] = option((64, 64), "sizes of the hidden layers; [] is a linear model", minimum=1)
    outputs: int = option(10, "number of outputs; null: the task's", minimum=1, of_task="num_outputs")
    activation: Literal["relu", "tanh", "gelu"] = option(
        "relu", "behind every hidden layer; only relu lets positive factors pass"
    )

    def __attrs_post_init__(self) -> None:
        if not self.input_shape:
            raise ValueError("input_shape: expected at least one number, but got an empty list")


def build(options: Options) -> tuple[nn.Module, TargetSpec]:
    """Build dense layers with the activation between them; the input is flattened first."""
    sizes = [prod(options.input_shape), *options.hidden, options.outputs]
    names = [f"hidden{number + 1}" for number in range(len(options.hidden))]
    modules: list[nn.Module] = [nn.Flatten()]
    layers: list[LayerSpec] = []
    reads: list[str] = []
    for name, (inputs, filters) in zip([*names, "out"], pairwise(sizes), strict=True):
        params = [kernel(f"{len(modules)}.weight", "o i"), bias(f"{len(modules)}.bias")]
        writes = [name] if name in names else []
        layers.append(LayerSpec(name=name, filters=filters, reads=reads, writes=writes, params=params))
        modules += [nn.Linear(inputs, filters), ACTIVATIONS[options.activation]()]
        reads = writes
    units = zip(names, options.hidden, strict=True)
    spec = TargetSpec(
        name="mlp",
        input_shape=options.input_shape,
        num_outputs=options.outputs,
        logits="out",
        units=[UnitSpec(name=name, size=size, ops=[options.activation]) for name, size in units],
        layers=layers,
    )
    return nn.Sequential(*modules[:-1]), spec


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="mlp",
            factory=build,
            options=Options,
            summary="perceptron with any number of hidden layers, for vectors or images",
        )
    ]
