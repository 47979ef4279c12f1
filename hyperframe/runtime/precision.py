"""Arithmetic in which a training's products are rounded: that of single precision, or a faster one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def has_tf32(device: torch.device) -> bool:
    """Whether a device has products in TF32, as NVIDIA's do from compute capability 8.0 on.

    Example:
        >>> has_tf32(torch.device("cpu"))
        False
    """
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return torch.cuda.is_tf32_supported()


def bfloat16_on(device: torch.device) -> Literal["native", "emulated", "none"]:
    """Say how a device computes in bfloat16: as it is, or by way of single precision, or not at all.

    NVIDIA's have it from compute capability 8.0 on; CPUs always do, though older ones are slower for it.

    Example:
        >>> bfloat16_on(torch.device("cpu"))
        'native'
    """
    if device.type != "cuda":
        return "native"
    with torch.cuda.device(device):
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "native"
        return "emulated" if torch.cuda.is_bf16_supported() else "none"


@contextmanager
def tf32_products() -> Iterator[None]:
    """Within it, matrix products and convolutions of float32 on CUDA devices may round their inputs to TF32.

    That is 11 significant bits where float32 has 24; sums and results are float32. The settings are those of the whole
    process, and come back afterwards.

    Example:
        >>> with tf32_products():
        ...     torch.backends.cuda.matmul.fp32_precision
        'tf32'
    """
    backends: Any = torch.backends
    cudnn = backends.cudnn
    with ExitStack() as stack:
        for owner, parts in ((backends.cuda.matmul, (backends.cuda.matmul,)), (cudnn, (cudnn.conv, cudnn.rnn))):
            if any(part.fp32_precision != "tf32" for part in parts):
                stack.callback(_put_back, owner, _older(owner), [(part, part.fp32_precision) for part in parts])
                owner.allow_tf32 = True  # the newer settings follow, and who reads either finds them in agreement
        yield


def _older(owner: Any) -> bool | None:
    """The older of torch's two settings; None where it refuses to say, since only the newer one was set."""
    try:
        return bool(owner.allow_tf32)
    except RuntimeError:
        return None


def _put_back(owner: Any, older: bool | None, newer: Sequence[tuple[Any, str]]) -> None:
    if older is not None:
        owner.allow_tf32 = older
    for part, precision in newer:
        part.fp32_precision = precision


def bfloat16_products(device: torch.device) -> torch.autocast:
    """Within it, torch.autocast rounds inputs of products and convolutions to bfloat16; it is of this thread only.

    No rounded weights are kept for a second use: there is one in a pass, and what was kept from before a CUDA graph is
    recorded would not follow the weights in a replay.

    Example:
        >>> with bfloat16_products(torch.device("cpu")):
        ...     (torch.ones(1, 2) @ torch.ones(2, 1)).dtype
        torch.bfloat16
    """
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def as_autocast_does(value: T) -> T | Tensor:
    """Round what an operation is given as torch.autocast does for a product: tensors of floats but for float64.

    Example:
        >>> with bfloat16_products(torch.device("cpu")):
        ...     as_autocast_does(torch.ones(1)).dtype, as_autocast_does(torch.ones(1).double()).dtype
        (torch.bfloat16, torch.float64)
    """
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype == torch.float64:
        return value
    kind = value.device.type
    return value.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else value
