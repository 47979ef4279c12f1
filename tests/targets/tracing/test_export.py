"""Tracing whatever torch's defaults are, in several threads, and with a trial in float64."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from modules import Net, Residual, dense
from torch import nn

from hyperframe.errors import SpecError
from hyperframe.targets.symmetry.exact import ExactNorms
from hyperframe.targets.symmetry.orbits import orbits
from hyperframe.targets.symmetry.precision import DoublePrecision
from hyperframe.targets.tracing import walk
from hyperframe.targets.tracing.rules.registry import RULES
from hyperframe.targets.tracing.tracer import trace

SHAPE = (1, 8, 8)


def counts(module, shape):
    return orbits(trace(module, shape).structure, True).counts


@pytest.fixture(scope="module")
def expected():
    return counts(Residual(3), SHAPE)


@pytest.fixture
def defaults():
    """Torch's defaults, put back afterwards."""
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)
    torch.set_default_device(None)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_modules_are_traced_whatever_the_default_type_is(dtype, defaults, expected):
    torch.set_default_dtype(dtype)
    module = Residual(3)
    assert next(module.parameters()).dtype == dtype
    assert counts(module, SHAPE) == expected
    assert torch.get_default_dtype() == dtype
    assert next(module.parameters()).dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_modules_are_traced_whatever_their_type_is(dtype, expected):
    assert counts(Residual(3).to(dtype), SHAPE) == expected


@pytest.mark.slow
def test_modules_are_traced_whatever_the_default_device_is(defaults, expected):
    module = Residual(3)
    torch.set_default_device("meta")
    structure = trace(module, SHAPE).structure
    assert torch.get_default_device().type == "meta"
    torch.set_default_device(None)
    assert orbits(structure, True).counts == expected


def test_a_default_type_is_put_back_after_a_failure(defaults):
    torch.set_default_dtype(torch.float64)
    with pytest.raises(SpecError, match="does not run"):
        trace(dense(4, 2), (5,))
    assert torch.get_default_dtype() == torch.float64


@pytest.mark.slow
def test_several_threads_trace_at_once(expected):
    start = threading.Barrier(6)

    def work(_):
        start.wait()
        return counts(Residual(3), SHAPE)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [expected] * 6


@pytest.mark.slow
def test_one_thread_traces_while_another_is_at_it(monkeypatch):
    """Not by chance: what exports is never entered twice at a time."""
    inside, most = [], []
    original = torch.export.export

    def export(*args, **kwargs):
        inside.append(1)
        most.append(len(inside))
        try:
            return original(*args, **kwargs)
        finally:
            inside.pop()

    monkeypatch.setattr(torch.export, "export", export)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: trace(nn.Sequential(dense(4, 3), nn.ReLU(), dense(3, 2)), (4,)), range(3)))
    assert most == [1, 1, 1]


# In float64 whatever a forward asks for.


WIDE = {
    "float": lambda x: F.linear(x.float(), torch.eye(4)),
    "half": lambda x: x.half() @ torch.eye(4),
    "to": lambda x: x.to(torch.bfloat16),
    "type_as": lambda x: x.type_as(torch.zeros(1)) @ torch.ones(4),
    "zeros": lambda x: torch.zeros(2, 4).add_(x),
    "arange": lambda x: x @ torch.arange(4, dtype=torch.float32),
    "one_hot": lambda x: F.one_hot(torch.arange(4)).float() @ x[0],
    "tensor": lambda x: torch.tensor([0.0] * 4).add_(x[0]),
    "whole numbers": lambda x: (torch.arange(4) / 3) @ x[0],
    "softmax": lambda x: x.softmax(1, dtype=torch.float32),
    "complex": lambda x: torch.view_as_real(x.to(torch.complex64)),
    "truth": lambda x: (x > 0).float() * x,
}


@pytest.mark.parametrize("name", WIDE)
def test_nothing_is_lost_by_a_cast(name):
    """Weights that float32 would round away are still there."""
    x = 1 + 1e-12 * torch.arange(8.0, dtype=torch.float64).reshape(2, 4)
    with DoublePrecision(), ExactNorms():
        found, moved = WIDE[name](x), WIDE[name](x + 1e-12 * torch.arange(4.0, dtype=torch.float64))
    assert found.dtype == torch.float64
    assert not torch.equal(found, moved)


def test_gradients_pass_casts_and_whole_numbers_stay():
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with DoublePrecision():
        (x.float() * torch.ones(3)).sum().backward()
        assert x.to(torch.int32).dtype == torch.int32
        assert (x > 0).dtype == torch.bool
    assert torch.equal(x.grad, torch.ones(3, dtype=torch.float64))


@pytest.mark.slow
def test_where_no_trial_can_be_made_the_message_says_so():
    def choosy(m, x):
        if x.dtype != torch.float32:
            raise TypeError("only float32 here")
        return m.out(m.a(x).relu())

    traced = trace(Net(choosy, a=dense(4, 6), out=dense(6, 2)), (4,))
    assert sum(orbits(traced.structure, True).counts.values()) == 0
    assert [(entry.op, entry.place) for entry in traced.frozen] == [("self-check", "")]
    told = r"nothing could be tried in float64: TypeError: only float32 here \(test_export\.py, line \d+\)"
    assert re.fullmatch(told, traced.frozen[0].why)


# A rule that fails.


def test_a_rule_that_raises_costs_symmetries_and_says_so(monkeypatch):
    def broken(operation):
        raise IndexError("out of range")

    monkeypatch.setitem(RULES, "relu", broken)
    module = nn.Sequential(dense(4, 6), nn.ReLU(), dense(6, 5), nn.Tanh(), dense(5, 2))
    with pytest.raises(IndexError):  # as tests have it
        trace(module, (4,))
    monkeypatch.setattr(walk, "TOLERATED", (Exception,))
    traced = trace(module, (4,))
    assert [(entry.op, entry.place) for entry in traced.frozen] == [("relu", "1")]
    assert traced.frozen[0].why == "its rule fails (IndexError: out of range)"
    found = orbits(traced.structure, True).counts
    assert (found["scaling"], found["sign"], found["permutation"]) == (0, 5, 5)


def test_a_rule_that_raises_half_way_leaves_nothing_claimed(monkeypatch):
    linear = RULES["linear"]

    def broken(operation):
        linear(operation)
        raise RuntimeError("too late")

    monkeypatch.setitem(RULES, "linear", broken)
    monkeypatch.setattr(walk, "TOLERATED", (Exception,))
    traced = trace(nn.Sequential(dense(4, 6), nn.ReLU(), dense(6, 2)), (4,))
    assert sum(orbits(traced.structure, True).counts.values()) == 0


def test_a_kernel_across_the_units_has_labels_for_both_axes():
    """Hidden units along the tokens, and channels that pass them, are both there."""
    net = Net(
        lambda m, x: m.out(m.back(m.t(m.a(x).transpose(1, 2)).relu()).mean(2)),
        a=dense(3, 6),
        t=dense(5, 4),
        back=dense(4, 3),
        out=dense(6, 2),
    )
    traced = trace(net, (5, 3))
    assert traced.frozen == ()
    assert orbits(traced.structure, True).counts["permutation"] == 6 + 4 + 3
