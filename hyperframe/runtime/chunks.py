"""Work on many networks, some at a time: fewer where memory does not suffice."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TypeVar

import torch

from hyperframe.errors import MemoryShortageError, notice
from hyperframe.runtime.memory import if_it_fits
from hyperframe.runtime.threads import in_order

T = TypeVar("T")

NUMBERS_IN_THREADS = 1 << 26
"""Activations and weights, by the target's estimate, of the chunks that run at the same time; in float32 256 MiB."""


class Chunks:
    """Divides a batch of networks; where memory runs out, for good into less at a time.

    Attributes:
        size: how many networks are a chunk.
        halved: what the size became where memory ran out; else None.
        sequential: memory has run out, and one chunk is worked on after the other.

    Example:
        >>> [(rows.start, rows.stop, found) for rows, found in Chunks(2).over(5, lambda rows: "done", MemoryError)]
        [(0, 2, 'done'), (2, 4, 'done'), (4, 5, 'done')]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.halved: int | None = None
        self.sequential = False

    def over(
        self,
        count: int,
        work: Callable[[slice], T],
        too_large: Callable[[], MemoryShortageError | MemoryError],
        *,
        numbers: int = 1,
        in_threads: bool = False,
    ) -> Iterator[tuple[slice, T]]:
        """Do some work on `count` networks.

        Args:
            count: how many there are.
            work: is given the networks of a chunk; done again, for fewer, where memory runs out.
            too_large: makes what is raised where one network alone does not fit.
            numbers: what the work holds for one network, see `Target.numbers`.
            in_threads: chunks may be worked on at the same time, in as many threads as torch has, but no more than
                hold `NUMBERS_IN_THREADS` together.

        Yields:
            Each chunk and what the work gave.
        """
        first = 0
        while first < count:
            chunks = self.divide(count, first)
            workers = self.workers(count - first, numbers) if in_threads and not self.sequential else 1
            with closing(in_order(lambda rows: if_it_fits(partial(work, rows)), chunks, workers)) as outcomes:
                for rows, done in zip(chunks, outcomes, strict=True):
                    if not done:
                        break
                    yield rows, done[0]
                    first = rows.stop
            if first < count:
                self._lessen(workers, min(self.size, count - first), too_large)

    def divide(self, count: int, first: int = 0) -> list[slice]:
        """The chunks of `count` networks, from the `first` on."""
        return [slice(start, min(start + self.size, count)) for start in range(first, count, self.size)]

    def workers(self, count: int, numbers: int) -> int:
        """How many chunks of so many networks are worked on at the same time, where threads may; see `over`."""
        fitting = max(1, NUMBERS_IN_THREADS // (numbers * self.size))
        return min(torch.get_num_threads(), -(-count // self.size), fitting)

    def _lessen(self, workers: int, size: int, too_large: Callable[[], MemoryShortageError | MemoryError]) -> None:
        """Memory did not suffice for so many chunks at once, of this size."""
        self.sequential = True
        if workers > 1:
            notice(f"out of memory: {workers} chunks at a time become one; results change by rounding only")
        elif size == 1:
            raise too_large()
        else:
            self.size = self.halved = size // 2
            notice(f"out of memory: trainer.chunk goes from {size} to {self.size}; results change by rounding only")
