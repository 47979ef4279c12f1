"""The least that work takes: its operations at the rate of a large product; and the bytes that they move."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from hyperframe.bench.speed.clock import Clock

MATRIX = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices whose product says what the device can do."""

COPIED = {"cpu": 2**25, "cuda": 2**28}
"""Numbers that are copied to find the memory's rate, 128 MiB and 1 GiB: more than caches hold."""

REPEATS = 7

OVERWRITING = frozenset(
    f"aten::{name}_" for name in ("bernoulli", "copy", "exponential", "fill", "normal", "random", "uniform", "zero")
)
"""Operations in place that do not read what they write over."""

UNWRITTEN = frozenset(
    f"aten::{name}" for name in ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
)
"""Operations that take memory and leave it as it is."""

CHOOSING = frozenset(f"aten::{name}" for name in ("embedding", "gather", "index", "index_select"))
"""Operations that read of their first tensor as much as they give."""


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write while this is active, in this thread.

    Each operation counts alone, as if all that it reads came from memory and all that it writes went there: an upper
    estimate, which caches and operations that are fused stay below. A view moves nothing. An operation in place reads
    and writes what it changes. A tensor that is expanded counts once, and one that an operation reads twice as well.

    Attributes:
        bytes: the sum.

    Example:
        >>> with Traffic() as traffic:
        ...     _ = torch.ones(2, 3) @ torch.ones(3, 4)             # (6 + 12) · 4 written, the same read, 8 · 4 written
        >>> traffic.bytes
        176
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        outputs = func(*args, **given)
        self.bytes += _moved(func, args, given, _tensors(outputs))
        return outputs


def _moved(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], outputs: list[Tensor]) -> int:
    """How many bytes one operation reads and writes."""
    name = func._schema.name
    if name in UNWRITTEN:
        return 0
    read, changed, overwritten = [], [], []
    for argument, value in _arguments(func, args, kwargs):
        if argument.alias_info is None or not argument.alias_info.is_write:
            read += _tensors(value)
        elif name in OVERWRITING or argument.is_out:
            overwritten += _tensors(value)
        else:
            changed += _tensors(value)
    known = {_storage(value) for value in (*read, *changed, *overwritten)}
    made = [value for value in outputs if _storage(value) not in known]
    if outputs and not made and not changed and not overwritten:
        return 0  # views
    sizes = {(_storage(value), value.storage_offset(), value.shape, value.stride()): _size(value) for value in read}
    if name in CHOOSING and read:
        first = read[0]
        key = _storage(first), first.storage_offset(), first.shape, first.stride()
        sizes[key] = min(sizes[key], sum(map(_size, outputs)))
    return sum(sizes.values()) + sum(map(_size, [*changed, *changed, *overwritten, *made]))


def _arguments(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Each argument that an operation was given, as its schema declares it, and its value."""
    declared = func._schema.arguments
    yield from zip(declared, args, strict=False)
    yield from ((argument, kwargs[argument.name]) for argument in declared if argument.name in kwargs)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor) and value.layout == torch.strided]


def _storage(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)


def _size(value: Tensor) -> int:
    """The bytes of a tensor's numbers; where it is expanded, those that are there."""
    return min(int(value.nbytes), int(value.untyped_storage().nbytes()))


def count(call: Callable[[], object]) -> tuple[int, int]:
    """Count the operations of a call's products and convolutions, two for each multiplication, and its `Traffic`."""
    with FlopCounterMode(display=False) as counter, Traffic() as traffic:
        call()
    return counter.get_total_flops(), traffic.bytes


def matrix_product_rate(clock: Clock, dtype: torch.dtype = torch.float32) -> float:
    """Operations a second, two for each multiplication, of a product of two large matrices."""
    size = MATRIX[clock.device.type]
    matrix = torch.rand(size, size, device=clock.device, dtype=dtype)
    return float(2 * size**3 / clock.time(lambda: matrix @ matrix, REPEATS).row()["wall_s"])


def memory_rate(clock: Clock) -> float:
    """Bytes a second, those read and those written, of a large copy."""
    source = torch.ones(COPIED[clock.device.type], device=clock.device)
    copied = torch.empty_like(source)
    return float(2 * source.nbytes / clock.time(lambda: copied.copy_(source), REPEATS).row()["wall_s"])
