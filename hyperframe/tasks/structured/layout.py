"""Named tensors laid out in one vector, as weights are packed: the outputs of several heads, and their labels."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from hyperframe.errors import SpecError


def _shapes(given: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in given.items()}


@attrs.frozen
class Layout:
    """The order and the shapes of named tensors in one vector.

    Attributes:
        shapes: for each name the shape of one example's tensor, in the order of the vector.

    Example:
        >>> layout = Layout({"digit": (10,), "size": ()})
        >>> packed = layout.pack({"digit": torch.zeros(5, 10), "size": torch.ones(5)})
        >>> packed.shape, layout.split(packed)["size"]
        (torch.Size([5, 11]), tensor([1., 1., 1., 1., 1.]))
    """

    shapes: Mapping[str, tuple[int, ...]] = attrs.field(converter=_shapes)

    @property
    def size(self) -> int:
        """The entries of the vector."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Lay tensors [..., *shape] out in one vector [..., size], of a type that holds all of theirs."""
        rows = [
            tensors[name].flatten(tensors[name].dim() - len(shape)) if shape else tensors[name][..., None]
            for name, shape in self.shapes.items()
        ]
        return torch.cat(rows, -1)

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Take a vector [..., size] apart: for each name a view [..., *shape]."""
        ends = [0]
        for shape in self.shapes.values():
            ends.append(ends[-1] + math.prod(shape))
        parts = zip(self.shapes.items(), pairwise(ends), strict=True)
        return {
            name: vector[..., first:end].unflatten(-1, shape) if shape else vector[..., first]
            for (name, shape), (first, end) in parts
        }


@attrs.frozen
class PackOutputs:
    """A hook that lays out what a module returns: a mapping by name, or a tuple in the order of the layout.

    One tensor passes as it is.
    """

    layout: Layout

    def __call__(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """Return the vector.

        Raises:
            SpecError: there are other names, another number or other shapes than the layout has.
        """
        if isinstance(outputs, Tensor):
            return outputs
        wanted = self.layout.shapes
        if isinstance(outputs, tuple | list) and len(outputs) == len(wanted):
            outputs = dict(zip(wanted, outputs, strict=True))
        if not isinstance(outputs, Mapping) or set(outputs) != set(wanted):
            found = ", ".join(map(str, outputs)) if isinstance(outputs, Mapping) else type(outputs).__name__
            raise SpecError(
                f"its forward must return the heads {', '.join(wanted)}, by name or in this order, not {found}"
            )
        for name, shape in wanted.items():
            own = outputs[name]
            if not isinstance(own, Tensor) or tuple(own.shape[1:]) != shape:
                found = str(list(own.shape)) if isinstance(own, Tensor) else type(own).__name__
                raise SpecError(f"its head '{name}' must be {['examples', *shape]}, but is {found}")
        return self.layout.pack(outputs)
