"""A user's own arrays as tensors on the CPU: real numbers, dense, finite."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperframe.errors import DataError
from hyperframe.runtime.memory import missing_memory

_WHOLE = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64"
_BROKEN = "float16 bfloat16 float32 float64"
_NUMBERS = frozenset(getattr(torch, name) for name in f"{_WHOLE} {_BROKEN}".split())


def as_tensor(array: Any, where: str) -> Tensor:
    """Return an array of numbers as a tensor on the CPU.

    Raises:
        DataError: it is none, or is empty.
    """
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"{where} is a masked array, whose mask would be lost; fill it, or leave those examples out")
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        # An array may be read-only, or have its bytes in another order.
        tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    elif isinstance(array, np.ndarray):
        raise DataError(f"{where} is {array.dtype}, expected real numbers of at most 64 bits")
    elif isinstance(array, Tensor):
        tensor = array.detach().clone()  # the caller's may change later
    else:
        fix = "; its to_numpy() makes one" if hasattr(array, "to_numpy") else ""
        raise DataError(f"{where} is {type(array).__name__}, expected a tensor or a numpy array{fix}")
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        raise DataError(f"{where} is a sparse or nested tensor, or has no numbers; expected a dense one")
    if tensor.dtype not in _NUMBERS:
        raise DataError(f"{where} is {_word(tensor.dtype)}, expected real numbers")
    if tensor.dim() == 0:
        raise DataError(f"{where} is a single number, expected an array")
    if not tensor.numel():
        raise DataError(f"{where} has the shape {list(tensor.shape)}, expected one or more examples")
    return tensor.cpu()


def as_inputs(array: Any, where: str) -> Tensor:
    """Return inputs [examples, ...] as float32; uint8 are taken for pixels and divided by 255.

    Raises:
        DataError: they are no numbers, have no axis beside the examples', or are not finite.

    Example:
        >>> as_inputs(np.array([[0, 255]], dtype=np.uint8), "x")
        tensor([[0., 1.]])
    """
    tensor = as_tensor(array, where)
    if tensor.dim() < 2:
        raise DataError(
            f"{where} has the shape {list(tensor.shape)}, expected [examples, ...]; "
            "one number an example is [examples, 1]"
        )
    missing = missing_memory(8 * tensor.numel())  # as float32, and once more when they are divided into splits
    if missing:
        raise DataError(f"{where}, of shape {list(tensor.shape)}, is too large: {missing}")
    values = tensor.float()
    if tensor.dtype is torch.uint8:
        values /= 255
    check_finite(values, where)
    return values.contiguous()


def check_finite(values: Tensor, where: str) -> None:
    """Raise `DataError` where values [examples, ...] are not finite."""
    bad = ~values.flatten(1).isfinite().all(1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise DataError(
            f"{where} holds NaN or infinite values (also: too large for float32) in {int(bad.sum())} of {len(bad)} "
            f"examples, the first is example {first}"
        )


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
