"""Times calls on a device: wall time, CPU time of this process, and the peak of memory."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import torch

from hyperframe.errors import MemoryShortageError
from hyperframe.runtime.memory import PeakMemory, if_it_fits
from hyperframe.training.cuda_graph import WARM_UP

UNCOUNTED = WARM_UP + 1
"""Calls before those that are timed; on a CUDA device a step's graph is recorded in the last of them."""

Call = Callable[[], object]


@attrs.frozen
class Timing:
    """The times that some calls took.

    Attributes:
        walls: seconds of each call; on a CUDA device those between its beginning and its end there.
        cpus: seconds of CPU time of each call, of all threads of this process; on a CUDA device what starting it took.
        peak: the most memory that was in use, above the process after its imports, in bytes; on a CUDA device what
            tensors held there; None where the system does not tell.
    """

    walls: tuple[float, ...]
    cpus: tuple[float, ...]
    peak: int | None

    def row(self) -> dict[str, Any]:
        """Medians, and the peak: `wall_s`, `cpu_s`, `peak_bytes`."""
        return {
            "wall_s": statistics.median(self.walls),
            "cpu_s": statistics.median(self.cpus),
            "peak_bytes": self.peak,
        }


def joined(timings: Sequence[Timing]) -> Timing:
    """The same calls, timed at several times, as one; memory that earlier work left behind does not count in the peak.

    Example:
        >>> joined([Timing((1.0,), (2.0,), 7), Timing((3.0,), (4.0,), 5)])
        Timing(walls=(1.0, 3.0), cpus=(2.0, 4.0), peak=5)
    """
    peaks = [timing.peak for timing in timings if timing.peak is not None]
    return Timing(
        tuple(wall for timing in timings for wall in timing.walls),
        tuple(cpu for timing in timings for cpu in timing.cpus),
        min(peaks) if len(peaks) == len(timings) else None,
    )


class Clock:
    """Times calls, one after the other, after some that do not count.

    On a CUDA device events are recorded before and after each call, and the host waits once, after the last one: a wait
    after each call would count the way there and back, and the device would stand idle between the calls.

    Args:
        device: on which the calls work.
        memory: made after the imports; peaks are above what the process held then.
    """

    def __init__(self, device: torch.device, memory: PeakMemory) -> None:
        self.device = device
        self._memory = memory

    def time(self, call: Call, repeats: int) -> Timing:
        """Time so many calls."""
        self._memory.start(self.device)
        for _ in range(UNCOUNTED):
            call()
        cpus: list[float] = []
        measure = self._on_cuda if self.device.type == "cuda" else self._on_cpu
        walls = measure(partial(self._noting_cpu, call, cpus), repeats)
        return Timing(tuple(walls), tuple(cpus), self._memory.peak(self.device))

    def time_if_it_fits(self, call: Call, repeats: int) -> Timing | None:
        """Time so many calls; None where memory does not suffice."""
        try:
            found = if_it_fits(partial(self.time, call, repeats))
        except MemoryShortageError:
            return None
        return found[0] if found else None

    @staticmethod
    def _noting_cpu(call: Call, cpus: list[float]) -> None:
        begun = time.process_time()
        call()
        cpus.append(time.process_time() - begun)

    @staticmethod
    def _on_cpu(call: Call, repeats: int) -> list[float]:
        walls = []
        for _ in range(repeats):
            begun = time.perf_counter()
            call()
            walls.append(time.perf_counter() - begun)
        return walls

    def _on_cuda(self, call: Call, repeats: int) -> list[float]:
        with self._waiting_in_the_end():
            events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
            torch.cuda.synchronize(self.device)
            for begin, end in events:
                begin.record()
                call()
                end.record()
        return [begin.elapsed_time(end) / 1000 for begin, end in events]  # milliseconds

    @contextmanager
    def _waiting_in_the_end(self) -> Iterator[None]:
        with torch.cuda.device(self.device):
            yield
            torch.cuda.synchronize(self.device)
