"""Named tensors laid out in one vector, as weights are packed: the outputs of several heads, and their labels."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs
import torch
from torch import Tensor


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
