"""Memory that runs out: how it shows, and how much there is."""

import ctypes
import os
import platform
from pathlib import Path

import torch

MEBIBYTE = 2**20

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt's options, of malloc.h


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a CUDA device or on the CPU.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
        (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)  # on the CPU torch raises a RuntimeError
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in text or "bad_alloc" in text)


def free_cached() -> None:
    """Give back what CUDA's allocator keeps for later, so that pieces of another size find room."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def keep_freed() -> None:
    """Let the process keep memory that it frees, up to 256 MiB, where its C library can be told so (glibc).

    Else each large temporary is asked of the system anew, which hands it out, zeroed, page by page: a quarter of the
    time of a training step on a CPU.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 * MEBIBYTE)  # the largest that it takes
        library.mallopt(_TRIM_THRESHOLD, 256 * MEBIBYTE)


def available_memory() -> int | None:
    """Bytes of main memory that can be taken without swapping; None where the system does not say."""
    table = Path("/proc/meminfo")
    if table.is_file():
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return None


def missing_memory(needed: int) -> str | None:
    """Say that so many bytes are more than there is room for, with both figures; None where they are not.

    Example:
        >>> missing_memory(1) is None
        True
    """
    free = available_memory()
    if free is None or needed <= free:
        return None
    return f"{needed // MEBIBYTE:,} MiB of memory are needed, {free // MEBIBYTE:,} MiB are free"
