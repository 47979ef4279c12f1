"""The clock measures what a call takes, and on a CUDA device waits once for all calls."""

import time
from contextlib import nullcontext

import pytest
import torch

from hyperframe.bench.speed.clock import UNCOUNTED, Clock, Timing, joined
from hyperframe.errors import MemoryShortageError
from hyperframe.runtime.memory import PeakMemory

SLEEP = 0.01


@pytest.fixture
def clock():
    return Clock(torch.device("cpu"), PeakMemory())


def test_a_call_that_sleeps_takes_wall_time_and_no_cpu_time(clock):
    calls = []

    def call():
        calls.append(None)
        time.sleep(SLEEP)

    timing = clock.time(call, 3)
    assert len(calls) == 3 + UNCOUNTED
    assert len(timing.walls) == len(timing.cpus) == 3
    assert all(wall >= SLEEP for wall in timing.walls)
    assert all(cpu < wall for wall, cpu in zip(timing.walls, timing.cpus, strict=True))


def test_calls_before_the_timed_ones_do_not_count(monkeypatch, clock):
    now = [0.0]
    took = iter([100.0] * UNCOUNTED + [1.0, 2.0, 6.0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def call():
        now[0] += next(took)

    timing = clock.time(call, 3)
    assert timing.walls == (1.0, 2.0, 6.0)
    assert timing.row()["wall_s"] == 2.0


def test_what_does_not_fit_has_no_time(clock):
    def full():
        raise torch.OutOfMemoryError

    def short():
        raise MemoryShortageError("not all fit")

    def wrong():
        raise ValueError("a mistake")

    assert clock.time_if_it_fits(full, 1) is None
    assert clock.time_if_it_fits(short, 1) is None
    assert clock.time_if_it_fits(lambda: None, 1) is not None
    with pytest.raises(ValueError, match="a mistake"):
        clock.time_if_it_fits(wrong, 1)


class Device:
    """A device that works behind the host: it reaches an event when all that was asked for before it is done."""

    def __init__(self, monkeypatch):
        self.asked, self.waits, device = 0.0, [], self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.reached = device.asked

            def elapsed_time(self, other):
                assert device.waits[-1] >= other.reached, "it is not known yet"
                return other.reached - self.reached

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda _: self.waits.append(self.asked))
        monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 7)


def test_on_a_cuda_device_events_are_read_and_the_host_waits_once(monkeypatch):
    device = Device(monkeypatch)
    took = iter([1e6] * UNCOUNTED + [1.0, 20.0, 3.0])  # milliseconds

    def call():
        device.asked += next(took)

    timing = Clock(torch.device("cuda", 0), PeakMemory()).time(call, 3)
    assert timing.walls == pytest.approx((0.001, 0.02, 0.003))
    assert len(timing.cpus) == 3
    assert timing.peak == 7
    assert len(device.waits) == 2  # before the first timed call, and after the last one


@pytest.mark.cuda
def test_a_device_that_sleeps_takes_the_time():
    cycles = 10_000_000
    clock = Clock(torch.device("cuda"), PeakMemory())
    short, long = (
        clock.time(lambda many=many: torch.cuda._sleep(many * cycles), 3).row()["wall_s"] for many in (1, 10)
    )
    assert 5 < long / short < 20


def test_timings_of_several_passes_are_one():
    first, second = Timing((3.0, 1.0), (1.0, 1.0), 10), Timing((2.0,), (4.0,), 12)
    together = joined([first, second])
    assert together.row() == {"wall_s": 2.0, "cpu_s": 1.0, "peak_bytes": 10}
    assert joined([first, Timing((2.0,), (4.0,), None)]).peak is None
