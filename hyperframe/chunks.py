"""Work on many networks, some at a time: fewer where memory does not suffice."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from hyperframe.errors import MemoryShortageError, notice
from hyperframe.memory import free_cached, is_out_of_memory

T = TypeVar("T")


class Chunks:
    """Divides a batch of networks; the size is halved, for good, where memory runs out.

    Attributes:
        size: how many networks are worked on at a time.
        halved: what it became where memory ran out; else None.

    Example:
        >>> [(rows.start, rows.stop, found) for rows, found in Chunks(2).over(5, lambda rows: "done", MemoryError)]
        [(0, 2, 'done'), (2, 4, 'done'), (4, 5, 'done')]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.halved: int | None = None

    def over(
        self, count: int, work: Callable[[slice], T], too_large: Callable[[], MemoryShortageError | MemoryError]
    ) -> Iterator[tuple[slice, T]]:
        """Do some work on `count` networks.

        Args:
            count: how many there are.
            work: is given the networks of a chunk; done again for fewer where memory runs out.
            too_large: makes what is raised where one network alone does not fit.

        Yields:
            Each chunk and what the work gave.
        """
        first = 0
        while first < count:
            rows = slice(first, min(first + self.size, count))
            done = []
            try:
                done.append(work(rows))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if done:
                yield rows, done[0]
                first = rows.stop
            else:  # outside of the handler, which holds on to the memory of the failed work
                free_cached()
                self._halve(rows.stop - rows.start, too_large)

    def _halve(self, size: int, too_large: Callable[[], MemoryShortageError | MemoryError]) -> None:
        if size == 1:
            raise too_large()
        self.size = self.halved = size // 2
        notice(f"out of memory: trainer.chunk goes from {size} to {self.size}; results change by rounding only")
