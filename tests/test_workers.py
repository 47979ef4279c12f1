"""Work of several threads: in order, none left behind, and networks that run side by side give what they give alone."""

import os
import signal
import threading
from contextlib import closing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.chunks import NUMBERS_SIDE_BY_SIDE, Chunks
from hyperframe.config import load_config
from hyperframe.experiment import build_experiment, traced_target
from hyperframe.target import Target
from hyperframe.tracing import trace
from hyperframe.trainer import Trainer
from hyperframe.training import cpu_threads
from hyperframe.weights import unpack
from hyperframe.workers import flushes_denormals, in_order

SECONDS = 30
"""What a test waits for threads to meet, before it fails."""


@given(items=st.lists(st.integers(), max_size=12), workers=st.integers(1, 3))
def test_results_come_in_the_items_order(items, workers):
    assert list(in_order(lambda item: 3 * item, items, workers)) == [3 * item for item in items]


def test_workers_work_at_the_same_time_each_with_its_share_of_the_threads():
    meeting = threading.Barrier(2)

    def work(item):
        meeting.wait(SECONDS)  # breaks where the other one does not come
        return threading.get_ident(), torch.get_num_threads()

    for threads in (2, 5):
        with cpu_threads(threads):
            found = list(in_order(work, range(4), 2))
            assert torch.get_num_threads() == threads
        assert {share for _, share in found} == {threads // 2}
        assert len({worker for worker, _ in found} - {threading.get_ident()}) == 2


@pytest.mark.parametrize("recorded", [True, False])
def test_workers_record_gradients_where_the_caller_does(recorded):
    with torch.set_grad_enabled(recorded):
        assert list(in_order(lambda item: torch.is_grad_enabled(), range(3), 2)) == [recorded] * 3


@pytest.mark.parametrize("flushed", [True, False])
def test_workers_treat_denormal_numbers_as_the_caller_does(flushed):
    before = flushes_denormals()
    torch.set_flush_denormal(flushed)
    try:
        assert list(in_order(lambda item: flushes_denormals(), range(3), 2)) == [flushed] * 3
    finally:
        torch.set_flush_denormal(before)


def test_an_error_comes_through_and_no_call_runs_on():
    begun, ended = [], []

    def work(item):
        begun.append(item)
        try:
            if item == 2:
                raise ValueError("the third one")
        finally:
            ended.append(item)
        return item

    with cpu_threads(2):
        found = in_order(work, range(1000), 2)
        assert [next(found), next(found)] == [0, 1]
        with pytest.raises(ValueError, match="the third one"):
            next(found)
        assert sorted(begun) == sorted(ended)
        assert len(begun) < 10
        assert torch.get_num_threads() == 2


def test_no_call_runs_on_where_results_are_left():
    begun, ended, held = [], [], threading.Event()

    def work(item):
        begun.append(item)
        if item:
            held.wait(0.2)
        ended.append(item)

    with cpu_threads(2), closing(in_order(work, range(1000), 2)) as found:
        next(found)
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_process_has_workers_of_its_own():
    assert list(in_order(str, range(3), 2)) == ["0", "1", "2"]
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        code = 1
        try:
            code = int(list(in_order(str, range(3), 2)) != ["0", "1", "2"])
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


meeting = threading.Barrier(2)


class Meeting(nn.Module):
    """Two of its passes are at the same place at the same time."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        if self.training and threading.current_thread().name.startswith("hyperframe"):
            meeting.wait(SECONDS)
        return self.last(self.norm(self.first(x)).relu())


def target_of(module, *shape):
    return traced_target(trace(module, shape, "own")).to("cpu", torch.float64)


def normal_weights(target, networks):
    draw = torch.Generator().manual_seed(0)
    return {
        layer.name: torch.randn(networks, layer.filters, layer.filter_size, generator=draw, dtype=torch.float64)
        for layer in target.spec.layers
    }


def test_a_target_runs_different_networks_at_the_same_time():
    """While a module runs, weights stand in the place of its parameters: threads must not see each other's."""
    target = target_of(Meeting(), 3)
    weights = normal_weights(target, 4)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    unpacked = unpack(target.spec, weights)

    def one(number):
        rows = slice(number, number + 1)
        return target.run({name: value[rows] for name, value in unpacked.items()}, x[rows], training=True)

    state = {name: value.clone() for name, value in target.module.state_dict().items()}
    alone = torch.cat([one(number) for number in range(4)])
    with cpu_threads(2):
        together = torch.cat(list(in_order(one, range(4), 2)))
    assert torch.equal(alone, together)
    for name, value in target.module.state_dict().items():
        assert torch.equal(value, state[name])


def test_all_threads_share_the_targets_constants():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.only = nn.Linear(3, 2)
            self.register_buffer("factor", torch.tensor(2.0))

        def forward(self, x):
            return self.factor * self.only(x)

    target = target_of(Scaled(), 3)
    weights, x = normal_weights(target, 1), torch.ones(1, 3, dtype=torch.float64)

    def work(_):
        return target.forward(weights, x, shared=True)

    before = list(in_order(work, range(4), 2))
    target.load_constants({name: 2 * value for name, value in target.constants().items()})
    for one, other in zip(before, in_order(work, range(4), 2), strict=True):
        torch.testing.assert_close(other, 2 * one)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(nn.functional.dropout(self.first(x), 0.5, self.training))


class WithNumbersOfItsOwn(Dropping):
    def __init__(self):
        super().__init__()
        self.rng = torch.Generator()


@pytest.mark.parametrize(("module", "side_by_side"), [(Meeting, True), (Dropping, False), (WithNumbersOfItsOwn, False)])
def test_only_what_draws_no_random_numbers_runs_side_by_side(module, side_by_side):
    target, before = target_of(module(), 3), torch.get_rng_state()
    assert (target.numbers_side_by_side(5) is not None) == side_by_side
    assert torch.equal(torch.get_rng_state(), before)


def threads_of(chunks, count, numbers):
    """Threads that worked on the chunks."""
    with cpu_threads(2):
        found = [
            name for _, name in chunks.over(count, lambda _: threading.current_thread().name, MemoryError, numbers)
        ]
    return {name.partition("_")[0] for name in found}


def test_chunks_run_side_by_side_where_they_may_and_their_memory_is_bounded():
    assert threads_of(Chunks(2), 8, 10) == {"hyperframe"}
    assert threads_of(Chunks(8), 8, 10) == {"MainThread"}  # there is one only
    assert threads_of(Chunks(2), 8, None) == {"MainThread"}
    assert threads_of(Chunks(2), 8, NUMBERS_SIDE_BY_SIDE // 4) == {"hyperframe"}
    assert threads_of(Chunks(2), 8, NUMBERS_SIDE_BY_SIDE // 4 + 1) == {"MainThread"}
    short = Chunks(2)
    short.halved = 2
    assert threads_of(short, 8, 10) == {"MainThread"}


def test_where_memory_runs_out_one_chunk_runs_after_the_other_and_then_smaller_ones():
    tried, chunks = [], Chunks(4)

    def work(rows):
        tried.append((threading.current_thread().name.partition("_")[0], rows.stop - rows.start))
        if rows.start >= 4 and rows.stop - rows.start > 2:
            raise torch.OutOfMemoryError
        return rows.start

    with cpu_threads(2), pytest.warns(hf.HyperframeWarning) as caught:
        found = [(rows.start, rows.stop, start) for rows, start in chunks.over(10, work, MemoryError, 1)]
    assert found == [(0, 4, 0), (4, 6, 4), (6, 8, 6), (8, 10, 8)]
    assert [str(warning.message).partition(";")[0] for warning in caught] == [
        "out of memory: 2 chunks ran at the same time, one does from here on",
        "out of memory: trainer.chunk goes from 4 to 2",
    ]
    assert tried[-4:] == [("MainThread", 4), ("MainThread", 2), ("MainThread", 2), ("MainThread", 2)]
    assert chunks.halved == chunks.size == 2


@pytest.mark.parametrize("extra", [[], ["diversity=[weight_entropy, disagreement]"]])
def test_a_step_is_the_same_side_by_side(registry, extra, monkeypatch):
    """Networks one at a time are computed by the same operations, in whatever thread."""
    found, run, seen = [], Target.run, set()

    def spy(*args, **options):
        seen.add(threading.current_thread().name.partition("_")[0])
        return run(*args, **options)

    monkeypatch.setattr(Target, "run", spy)
    for threads in (1, 2):
        settings = ["trainer.device=cpu", "trainer.chunk=1", "trainer.z=6", "trainer.images=8", *extra]
        with cpu_threads(threads):
            trainer = Trainer(build_experiment(load_config("digits", settings, registry)), small_data())
            before = torch.get_rng_state()
            seen.clear()
            trainer.step()
            assert torch.equal(torch.get_rng_state(), before)
        assert seen == {"MainThread" if threads == 1 else "hyperframe"}
        found.append([*trainer.parameters, trainer.read_metrics()])
    *one, metrics = found[0]
    *two, others = found[1]
    assert metrics == pytest.approx(others, rel=1e-5)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def small_data():
    draw = torch.Generator().manual_seed(1)
    return hf.Data(torch.rand(50, 1, 8, 8, generator=draw), torch.randint(10, (50,), generator=draw))
