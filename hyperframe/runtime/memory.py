"""Memory that runs out: how it shows, and how much there is."""

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

from hyperframe.errors import MemoryShortageError

T = TypeVar("T")

MEBIBYTE = 2**20

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt's options, of malloc.h
_ON_THE_CPU = ("DefaultCPUAllocator", "bad_alloc", "could not create a primitive")
"""Words of torch's errors, and of the last oneDNN's, where memory runs out."""
_RESET_PEAK = Path("/proc/self/clear_refs")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a CUDA device or on the CPU.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
        (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ON_THE_CPU)


def if_it_fits(work: Callable[[], T]) -> list[T]:
    """Do some work: its result in a list, or an empty list where memory ran out, with all that failed freed.

    Example:
        >>> if_it_fits(lambda: 3)
        [3]
    """
    try:
        return [work()]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    free_cached()  # only here is the error gone, and with it what its frames held
    return []


def unless_out_of_memory(failed: Callable[[BaseException], Exception]) -> Callable[[BaseException], Exception]:
    """Make an error of what others' code raises (`hyperframe.errors.others_code`), but not of memory that ran out.

    That is raised as it is, for those outside who take less at a time or say what does not fit.
    """

    def failed_or_full(error: BaseException) -> Exception:
        if is_out_of_memory(error):
            raise error
        return failed(error)

    return failed_or_full


@contextmanager
def shortage_as(message: str) -> Iterator[None]:
    """Raise `MemoryShortageError` with a message where memory runs out inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryShortageError(message) from error


def free_cached() -> None:
    """Give back what allocators keep for later, so that pieces of another size find room."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed(device: torch.device) -> None:
    """Let a process that computes on the CPU keep memory that it frees, up to 256 MiB, where its C library is glibc.

    Else each large temporary is asked of the system anew, which hands it out, zeroed, page by page: a quarter of the
    time of a training step on a CPU.
    """
    if device.type == "cpu" and _is_glibc():
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 * MEBIBYTE)  # the largest that it takes
        library.mallopt(_TRIM_THRESHOLD, 256 * MEBIBYTE)


@cache
def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


class PeakMemory:
    """The most memory that was in use from a moment on, above what the process held when this was made.

    On a CUDA device it is what tensors hold there. On the CPU it is the resident memory, where the system tells it and
    lets its peak be reset (Linux).
    """

    def __init__(self) -> None:
        self._before = _status("VmRSS")

    def start(self, device: torch.device) -> None:
        """Measure from here on."""
        free_cached()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            try:
                _RESET_PEAK.write_text("5", encoding="ascii")
            except OSError:  # not Linux, or not allowed
                self._before = None

    def peak(self, device: torch.device) -> int | None:
        """The peak since then, in bytes; None where the system does not tell."""
        if device.type == "cuda":
            return torch.cuda.max_memory_allocated(device)
        peak = _status("VmHWM")
        return None if peak is None or self._before is None else peak - self._before


def _status(key: str) -> int | None:
    """Bytes of a line in the process's status; None where there is none."""
    table = Path("/proc/self/status")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":")), None)


def available_memory() -> int | None:
    """Bytes of main memory that can be taken without swapping, within the limit of the process.

    None where the system does not say.
    """
    known = [room for room in (_free_memory(), _left_of_process()) if room is not None]
    return max(0, min(known)) if known else None


def _left_of_process() -> int | None:
    """Bytes that the process may still take under its own limit (`ulimit -v`)."""
    try:
        import resource  # noqa: PLC0415  (POSIX systems have it)
    except ModuleNotFoundError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    taken = _status("VmSize")
    return None if limit == resource.RLIM_INFINITY or taken is None else limit - taken


def _free_memory() -> int | None:
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
    """Say that so many bytes are more than there is room for, with both numbers; None where they are not.

    Example:
        >>> missing_memory(1) is None
        True
    """
    free = available_memory()
    if free is None or needed <= free:
        return None
    return f"{needed // MEBIBYTE:,} MiB of memory are needed, {free // MEBIBYTE:,} MiB are free"
