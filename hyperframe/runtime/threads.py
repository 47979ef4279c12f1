"""Threads that compute at the same time on a CPU."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 2
"""Pieces of work, for each worker, that are begun or wait before the first of them has to be done."""

_THREAD = threading.local()


def in_order(work: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T, None, None]:
    """Do the same work on several items at once; what it gives comes in the items' order.

    The operations of a network that is small for its device keep one core busy and several waiting for each other;
    several such networks keep all of them busy. Each worker takes its share of torch's threads, and does as the caller
    with gradients, which are recorded or not, with denormal numbers and with torch.autocast. Work must not draw global
    random numbers, whose order would be left to chance. Until the last result is asked for, the caller's thread has
    such a share, too. Work that itself comes here is done on its own thread.

    Args:
        work: is called in one of the workers; on the caller's thread where there is one worker only.
        items: what it is called with.
        workers: how many calls run at a time.

    Yields:
        What the work gave. Where it raises, that is raised in its place. No call is running any more when this ends,
        is closed, or raises.

    Example:
        >>> list(in_order(lambda number: number**2, range(5), workers=2))
        [0, 1, 4, 9, 16]
    """
    if workers == 1 or getattr(_THREAD, "works", False):
        for item in items:
            yield work(item)
        return
    recorded, flushed = torch.is_grad_enabled(), flushes_denormals()
    casts, cast_to = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    before = torch.get_num_threads()
    share = max(1, before // workers)
    # A call counts itself: Ctrl-C may come after one is handed over and before its future is kept here.
    gate, running, ended = threading.Condition(), 0, False

    def call(item: S) -> T:
        nonlocal running
        with gate:
            if ended:
                raise CancelledError
            running += 1
        try:
            return settled(item)
        finally:
            with gate:
                running -= 1
                gate.notify_all()

    def settled(item: S) -> T:
        _THREAD.works = True
        torch.set_num_threads(share)
        torch.set_flush_denormal(flushed)
        with torch.set_grad_enabled(recorded), torch.autocast("cpu", cast_to, enabled=casts):
            return work(item)

    begun: deque[Future[T]] = deque()
    # For the caller's thread too: some of torch's libraries (MKL) have one number for the whole process.
    torch.set_num_threads(share)
    try:
        for item in items:
            begun.append(_pool(workers).submit(call, item))
            if len(begun) == AHEAD * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        try:
            with gate:
                ended = True
                gate.wait_for(lambda: not running)
        finally:
            torch.set_num_threads(before)


def flushes_denormals() -> bool:
    """Whether this thread takes numbers that are too small to be normal for zero, which is faster."""
    return float(torch.full((), 1e-40, device="cpu") * 1) == 0


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that stay, since what torch and its libraries keep for each is costly to make anew."""
    return ThreadPoolExecutor(workers, "hyperframe")


if hasattr(os, "register_at_fork"):  # not on Windows; a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads on the CPU; None changes nothing. The old number comes back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
