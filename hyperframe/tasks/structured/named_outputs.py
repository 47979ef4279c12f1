"""Outputs of modules by name, where a task has a layout: as the vector that the engine carries, and back again."""

from collections.abc import Mapping
from typing import Any

import attrs
from torch import Tensor, nn

from hyperframe.errors import SpecError
from hyperframe.types import Layout


@attrs.frozen
class PackOutputs:
    """A hook that lays out what a module returns: a mapping by name, or a tuple in the order of the layout.

    One tensor passes as it is.

    Attributes:
        layout: the names and shapes that the task has.
        where: begins messages, such as "target 'net'".
    """

    layout: Layout
    where: str

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
                f"{self.where}: its forward must return the heads {', '.join(wanted)}, by name or in this order, not "
                f"{found}"
            )
        for name, shape in wanted.items():
            own = outputs[name]
            if not isinstance(own, Tensor) or tuple(own.shape[1:]) != shape:
                found = str(list(own.shape)) if isinstance(own, Tensor) else type(own).__name__
                raise SpecError(f"{self.where}: its head '{name}' must be {['examples', *shape]}, but is {found}")
        return self.layout.pack(outputs)


@attrs.frozen
class NameOutputs:
    """A hook by which a module gives a mapping of tensors by name in place of the vector."""

    layout: Layout

    def __call__(self, module: nn.Module, inputs: Any, outputs: Tensor) -> dict[str, Tensor]:
        """Return the mapping, in the order of the layout."""
        return self.layout.split(outputs)
