"""Data that all components share: batches of weights, and data on one device."""

import attrs
import torch
from torch import Tensor

Weights = dict[str, Tensor]
"""A batch of weight sets: for each layer's name its filters, shape [batch, filters, filter_size]."""

Statistics = dict[str, Tensor]
"""Numbers beside the weights that are not learnt, such as BatchNorm's moments: for each buffer [batch, *shape]."""

UNLABELLED = -1
"""The label of a place, or of an example in a head, that has none and does not count, such as padding."""


@attrs.frozen
class Data:
    """Inputs and what is known of them, resident on one device.

    Bytes (uint8) are pixels: they stay bytes in memory, a quarter of the size, and are divided by 255 where inputs are
    looked at. Take examples first, `data[rows].x`, where a few are wanted.

    Attributes:
        kept: inputs as they are kept, shape [examples, *input_shape]; the argument `x`.
        y: labels or values, shape [examples, ...].

    Example:
        >>> data = Data(torch.tensor([[0, 255], [51, 0]], dtype=torch.uint8), torch.tensor([0, 1]))
        >>> data[1:].x
        tensor([[0.2000, 0.0000]])
    """

    kept: Tensor = attrs.field(alias="x")
    y: Tensor

    @property
    def x(self) -> Tensor:
        """Inputs, floating point [examples, *input_shape]; of bytes a new tensor each time."""
        return self.kept.float().div_(255) if self.kept.dtype == torch.uint8 else self.kept

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.kept.device

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, examples: slice | Tensor) -> "Data":
        return Data(self.kept[examples], self.y[examples])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Data":
        """The same data on a device; `dtype` applies to the inputs, which bytes then are no more."""
        return Data((self.kept if dtype is None else self.x).to(device, dtype), self.y.to(device))
