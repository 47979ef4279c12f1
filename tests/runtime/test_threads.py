"""Work of several threads: in order, none left behind, and networks that run side by side give what they give alone."""

import os
import pickle
import random
import signal
import threading
import time
from contextlib import closing, nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.experiment.targets import traced_target
from hyperframe.networks.passes.probes import keeps_nothing
from hyperframe.networks.target import Target
from hyperframe.runtime.chunks import NUMBERS_IN_THREADS, Chunks
from hyperframe.runtime.threads import cpu_threads, flushes_denormals, in_order
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.weights import unpack
from hyperframe.testing.examples import random_weights
from hyperframe.training.trainer import Trainer

SECONDS = 30
"""How long a test waits for threads to meet before it fails."""


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


def test_workers_cast_as_the_caller_does():
    matrix = torch.ones(2, 2)
    for wanted, mode in ((torch.bfloat16, torch.autocast("cpu", torch.bfloat16)), (torch.float32, nullcontext())):
        with mode:
            assert list(in_order(lambda _: (matrix @ matrix).dtype, range(3), 2)) == [wanted] * 3


def test_work_may_come_here_again():
    def work(item):
        return list(in_order(lambda other: (item, other), range(2), 2))

    assert list(in_order(work, range(4), 2)) == [[(item, 0), (item, 1)] for item in range(4)]


@pytest.mark.parametrize("workers", [1, 2])
def test_work_cannot_end_it(workers):
    def work(item):
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(in_order(work, range(3), workers))


@pytest.mark.parametrize("flushed", [True, False])
def test_workers_treat_denormal_numbers_as_the_caller_does(flushed):
    before = flushes_denormals()
    torch.set_flush_denormal(flushed)
    try:
        assert list(in_order(lambda item: flushes_denormals(), range(3), 2)) == [flushed] * 3
    finally:
        torch.set_flush_denormal(before)


class Calls:
    """Work that is noted; the first piece is done at once, one fails at once, all others take a moment."""

    def __init__(self, failing=None):
        self.failing, self.begun, self.ended = failing, [], []

    def __call__(self, item):
        self.begun.append(item)
        if item and item != self.failing:
            time.sleep(0.5)
        self.ended.append(item)
        if item == self.failing:
            raise ValueError("this one")
        return item


@pytest.mark.slow
def test_an_error_comes_through_and_no_call_runs_on():
    calls = Calls(failing=1)
    with cpu_threads(2):
        found = in_order(calls, range(1000), 2)
        assert next(found) == 0
        with pytest.raises(ValueError, match="this one"):
            next(found)
        assert sorted(calls.begun) == sorted(calls.ended)
        assert len(calls.begun) < 5  # what waited was cancelled
        assert torch.get_num_threads() == 2


@pytest.mark.slow
def test_no_call_runs_on_where_results_are_left():
    calls = Calls()
    with cpu_threads(2), closing(in_order(calls, range(1000), 2)) as found:
        next(found)
    assert sorted(calls.begun) == sorted(calls.ended)
    assert len(calls.begun) < 4


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are sent otherwise")
def test_ctrl_c_waits_for_the_calls():
    calls = Calls()

    def interrupting(item):
        if item == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return calls(item)

    with cpu_threads(2):
        with pytest.raises(KeyboardInterrupt):
            list(in_order(interrupting, range(1000), 2))
        assert sorted(calls.begun) == sorted(calls.ended)
        assert torch.get_num_threads() == 2


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


class Meeting(nn.Module):
    """A pass waits until another one is at the same place, where a test has set that they shall meet."""

    place: threading.Barrier | None = None

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        if Meeting.place is not None:
            Meeting.place.wait(SECONDS)
        return self.last(self.norm(self.first(x)).relu())


def target_of(module, *shape):
    return traced_target(trace(module, shape, "own")).to("cpu", torch.float64)


def test_a_target_runs_different_networks_at_the_same_time(monkeypatch):
    """While a module runs, weights stand in the place of its parameters: threads must not see each other's."""
    target = target_of(Meeting(), 3)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    unpacked = unpack(target.spec, random_weights(target.spec, 4, 0))

    def one(number):
        rows = slice(number, number + 1)
        return target.run({name: value[rows] for name, value in unpacked.items()}, x[rows], training=True)

    state = {name: value.clone() for name, value in target.module.state_dict().items()}
    alone = torch.cat([one(number) for number in range(4)])
    monkeypatch.setattr(Meeting, "place", threading.Barrier(2))
    with cpu_threads(2):
        together = torch.cat(list(in_order(one, range(4), 2)))
    assert torch.equal(alone, together)
    for name, value in target.module.state_dict().items():
        assert torch.equal(value, state[name])


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.only = nn.Linear(3, 2)
        self.register_buffer("factor", torch.tensor(2.0))

    def forward(self, x):
        return self.factor * self.only(x)


def test_all_threads_have_the_targets_constants():
    target = target_of(Scaled(), 3)
    place = threading.Barrier(2)

    def work(_):
        place.wait(SECONDS)
        dtype = target.module.factor.dtype
        return target.forward({name: value.to(dtype) for name, value in weights.items()}, x.to(dtype), shared=True)

    weights, x = random_weights(target.spec, 1, 0), torch.ones(1, 3, dtype=torch.float64)
    before = list(in_order(work, range(4), 2))
    for change in (lambda: target, lambda: target.to("cpu", torch.float32).to("cpu", torch.float64)):
        change().load_constants({"factor": torch.tensor(6.0)})
        for one, other in zip(before, in_order(work, range(4), 2), strict=True):
            torch.testing.assert_close(other, 3 * one)
        target.load_constants({"factor": torch.tensor(2.0)})


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(nn.functional.dropout(self.first(x), 0.5, self.training))


class Drawing(Scaled):
    """Draws in some way."""

    def __init__(self, draw):
        super().__init__()
        self.draw, self.held = draw, {"numbers": [torch.Generator()]}

    def forward(self, x):
        return super().forward(x) + float(self.draw(self, x))


OWN = {
    "from generators that it holds": lambda module, x: torch.rand((), generator=module.held["numbers"][0]),
    "from Python's": lambda module, x: random.random(),
    "from numpy's": lambda module, x: np.random.rand(),
    "for many images": lambda module, x: torch.rand(()) if len(x) > 4 else 0,
    "where gradients are wanted": lambda module, x: torch.rand(()) if torch.is_grad_enabled() else 0,
}


class Counting(Scaled):
    """Counts its passes."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, x):
        self.calls[0] += 1
        return super().forward(x)


class Numbering(Scaled):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class Growing(Scaled):
    """Changes a buffer that is no normalisation's."""

    def forward(self, x):
        self.factor.mul_(1.01)
        return super().forward(x)


class Failing(Scaled):
    def forward(self, x):
        raise ValueError("no")


LEAVE = {
    "dropout": Dropping,
    "a buffer": Growing,
    "a failure": Failing,
    "an attribute": Numbering,
    "a list": lambda: Counting([0]),
    "an array": lambda: Counting(np.zeros(1)),
    **{f"numbers {name}": partial(Drawing, draw) for name, draw in OWN.items()},
}


@pytest.mark.parametrize("made", LEAVE.values(), ids=LEAVE)
def test_what_leaves_something_behind_does_not_run_in_threads(made):
    module = made()
    numbers, state = torch.get_rng_state(), {name: value.clone() for name, value in module.state_dict().items()}
    pythons, numpys = random.getstate(), np.random.get_state()[1].tolist()
    assert not keeps_nothing(module, torch.zeros(5, 3), ())
    assert torch.equal(torch.get_rng_state(), numbers)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == (pythons, numpys)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


@pytest.mark.slow
def test_what_leaves_nothing_behind_runs_in_threads():
    moments = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert keeps_nothing(Scaled(), torch.zeros(5, 3), ())
    assert keeps_nothing(Meeting(), torch.zeros(5, 3), moments)
    assert not keeps_nothing(Meeting(), torch.zeros(5, 3), ())
    for threads in (1, 2):
        with cpu_threads(threads):
            assert target_of(Meeting(), 3).runs_in_threads(5) == (threads == 2)
            assert not target_of(Dropping(), 3).runs_in_threads(5)


def test_a_target_that_has_run_can_be_pickled():
    target = target_of(Scaled(), 3)
    weights, x = random_weights(target.spec, 2, 0), torch.ones(4, 3, dtype=torch.float64)
    wanted = target.forward(weights, x, shared=True)
    assert torch.equal(pickle.loads(pickle.dumps(target)).forward(weights, x, shared=True), wanted)


def threads_of(chunks, count, numbers=10, in_threads=True):
    """Threads that worked on the chunks."""

    def work(_):
        return threading.current_thread().name.partition("_")[0]

    with cpu_threads(2):
        return {name for _, name in chunks.over(count, work, MemoryError, numbers=numbers, in_threads=in_threads)}


def test_chunks_run_side_by_side_where_they_may_and_their_memory_is_bounded():
    assert threads_of(Chunks(2), 8) == {"hyperframe"}
    assert threads_of(Chunks(8), 8) == {"MainThread"}  # there is one only
    assert threads_of(Chunks(2), 8, in_threads=False) == {"MainThread"}
    assert threads_of(Chunks(2), 8, NUMBERS_IN_THREADS // 4) == {"hyperframe"}
    assert threads_of(Chunks(2), 8, NUMBERS_IN_THREADS // 4 + 1) == {"MainThread"}


def test_where_memory_runs_out_one_chunk_runs_after_the_other_and_then_smaller_ones():
    tried, chunks = [], Chunks(4)

    def work(rows):
        tried.append((threading.current_thread().name.partition("_")[0], rows.stop - rows.start))
        if rows.start >= 4 and rows.stop - rows.start > 2:
            raise torch.OutOfMemoryError
        return rows.start

    with cpu_threads(2), pytest.warns(hf.HyperframeWarning) as caught:
        found = [(rows.start, rows.stop, start) for rows, start in chunks.over(10, work, MemoryError, in_threads=True)]
    assert found == [(0, 4, 0), (4, 6, 4), (6, 8, 6), (8, 10, 8)]
    assert [str(warning.message).partition(";")[0] for warning in caught] == [
        "out of memory: 2 chunks at a time become one",
        "out of memory: trainer.chunk goes from 4 to 2",
    ]
    assert tried[-4:] == [("MainThread", 4), ("MainThread", 2), ("MainThread", 2), ("MainThread", 2)]
    assert chunks.halved == chunks.size == 2
    assert threads_of(chunks, 8) == {"MainThread"}
    assert {number for name, number in tried if name == "hyperframe"} <= {4, 2}


@pytest.mark.parametrize("chunk", [1, 2])
@pytest.mark.parametrize("extra", [[], ["diversity=[weight_entropy, disagreement]"]])
def test_a_step_is_the_same_side_by_side(registry, chunk, extra, monkeypatch):
    """The same operations, in whatever thread."""
    found, run, seen = [], Target.run, set()

    def spy(*args, **options):
        seen.add(threading.current_thread().name.partition("_")[0])
        return run(*args, **options)

    monkeypatch.setattr(Target, "run", spy)
    for threads in (1, 2):
        settings = [
            "trainer.device=cpu",
            f"trainer.chunk={chunk}",
            "trainer.networks=6",
            "trainer.batch_size=8",
            *extra,
        ]
        with cpu_threads(threads):
            built = build_experiment(load_config("digits_hypernetwork", settings, registry))
            trainer = Trainer(built, built.task.data("train"))
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


@pytest.mark.slow
def test_side_by_side_a_training_goes_on_bit_for_bit(tmp_path, small):
    settings = {"trainer__networks": 6, "trainer__chunk": 1, "trainer__threads": None, "trainer__steps": 6}
    with cpu_threads(2):
        whole, again = (small(tmp_path / name, **settings) for name in ("whole", "again"))
        small(tmp_path / "resumed", **settings, trainer__stop_after=3)
        resumed = hf.resume(tmp_path / "resumed")
    assert resumed.finished
    for other in (again, resumed):
        for one, two in zip(*(run.experiment.generator.parameters() for run in (whole, other)), strict=True):
            assert torch.equal(one, two)
