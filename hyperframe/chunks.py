"""Work on many networks, some at a time: fewer where memory does not suffice."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TypeVar

import torch

from hyperframe.errors import MemoryShortageError, notice
from hyperframe.memory import free_cached, is_out_of_memory
from hyperframe.workers import in_order

T = TypeVar("T")

NUMBERS_SIDE_BY_SIDE = 1 << 26
"""Activations and weights that chunks which run at the same time may hold together: 256 MiB."""


class Chunks:
    """Divides a batch of networks; where memory runs out, for good into less at a time.

    Attributes:
        size: how many networks are worked on at a time.
        halved: the size from when memory first ran out, since when one chunk runs after the other; else None.

    Example:
        >>> [(rows.start, rows.stop, found) for rows, found in Chunks(2).over(5, lambda rows: "done", MemoryError)]
        [(0, 2, 'done'), (2, 4, 'done'), (4, 5, 'done')]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.halved: int | None = None

    def over(
        self,
        count: int,
        work: Callable[[slice], T],
        too_large: Callable[[], MemoryShortageError | MemoryError],
        numbers: int | None = None,
    ) -> Iterator[tuple[slice, T]]:
        """Do some work on `count` networks.

        Args:
            count: how many there are.
            work: is given the networks of a chunk; done again, for fewer, where memory runs out.
            too_large: makes what is raised where one network alone does not fit.
            numbers: what the work holds for one network, where chunks may run in several threads at once, see
                `Target.numbers_side_by_side`; None: one chunk after the other.

        Yields:
            Each chunk and what the work gave.
        """
        first = 0
        while first < count:
            chunks = [slice(start, min(start + self.size, count)) for start in range(first, count, self.size)]
            workers = self._workers(len(chunks), numbers)
            with closing(in_order(partial(_if_it_fits, work), chunks, workers)) as outcomes:
                for rows, done in zip(chunks, outcomes, strict=True):
                    if not done:
                        break
                    yield rows, done[0]
                    first = rows.stop
            if first < count:
                free_cached()
                self._lessen(workers, min(self.size, count - first), too_large)

    def _workers(self, chunks: int, numbers: int | None) -> int:
        """How many chunks run at the same time."""
        if numbers is None or self.halved is not None:
            return 1
        return max(1, min(torch.get_num_threads(), chunks, NUMBERS_SIDE_BY_SIDE // (numbers * self.size)))

    def _lessen(self, workers: int, size: int, too_large: Callable[[], MemoryShortageError | MemoryError]) -> None:
        """Memory did not suffice for so many chunks at once, of this size."""
        if workers > 1:
            self.halved = self.size
            notice(f"out of memory: {workers} chunks ran at the same time, one does from here on")
        elif size == 1:
            raise too_large()
        else:
            self.size = self.halved = size // 2
            notice(f"out of memory: trainer.chunk goes from {size} to {self.size}; results change by rounding only")


def _if_it_fits(work: Callable[[slice], T], rows: slice) -> list[T]:
    """What the work gives, in a list; an empty one where memory does not suffice, and what failed is freed."""
    try:
        return [work(rows)]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return []
