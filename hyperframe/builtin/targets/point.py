"""The target `point`: its weights are its outputs, so that a generator draws points of a plane (section 4.1)."""

import attrs
import torch
from torch import Tensor, nn

from hyperframe import Component, hookimpl, option
from hyperframe.targets import LayerSpec, TargetSpec, bias


@attrs.frozen(kw_only=True)
class Options:
    """Options of the point."""

    entries: int = option(2, "number of weights, which are the outputs", minimum=1)


class Point(nn.Module):
    """A network whose outputs are its weights, T(x; θ) = θ: inputs [examples, 1] give outputs [examples, entries].

    Example:
        >>> Point(2)(torch.ones(3, 1)).shape
        torch.Size([3, 2])
    """

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.zeros(entries))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weights, once for each input."""
        return self.point.expand(len(x), -1)


def build(options: Options) -> tuple[nn.Module, TargetSpec]:
    """Build a layer of biases alone, in which no two weight sets are the same function."""
    spec = TargetSpec(
        name="point",
        input_shape=(1,),
        num_outputs=options.entries,
        logits="point",
        layers=[LayerSpec(name="point", filters=options.entries, params=[bias("point")])],
    )
    return Point(options.entries), spec


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="point",
            factory=build,
            options=Options,
            summary="its weights are its outputs, whatever the input: a point, two entries by default",
            reference="section 4.1",
        )
    ]
