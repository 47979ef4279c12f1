"""Biases that a BatchNorm takes away: found where only sums, pooling and layers are between, and right."""

import pytest
import torch
from modules import Net, chain, conv, dense, given
from torch import nn

from hyperframe.targets.symmetry.exact import exact_copy, redraw, run_exactly
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.targets.tracing import shifts, tracer
from hyperframe.targets.tracing.tracer import trace


def behind(*between, size=36):
    """A convolution, some layers, and a last one."""
    return chain(conv(1, 4), *between, nn.ReLU(), nn.Flatten(), dense(size, 2))


def norm(run, **parts):
    return Net(run, a=dense(4, 6), n=nn.BatchNorm1d(6), out=dense(6, 2), **parts)


IMAGE = (1, 5, 5)
CASES = {
    "directly": (lambda: behind(nn.BatchNorm2d(4)), IMAGE, {"0"}),
    "pooling": (lambda: behind(nn.MaxPool2d(2, 1), nn.AvgPool2d(2), nn.BatchNorm2d(4), size=4), IMAGE, {"0"}),
    "pooling with zeros around": (lambda: behind(nn.AvgPool2d(2, padding=1), nn.BatchNorm2d(4), size=16), IMAGE, set()),
    "a ReLU": (lambda: behind(nn.ReLU(), nn.BatchNorm2d(4)), IMAGE, set()),
    "an InstanceNorm": (lambda: behind(nn.AvgPool2d(2, 1), nn.InstanceNorm2d(4), size=16), IMAGE, {"0"}),
    "constant scale and shift": (lambda: behind(nn.BatchNorm2d(4).requires_grad_(False)), IMAGE, {"0"}),
    "flat": (lambda: chain(conv(1, 4), nn.Flatten(), nn.BatchNorm1d(36), nn.ReLU(), dense(36, 2)), IMAGE, {"0"}),
    "a separable convolution": (
        lambda: behind(nn.ReLU(), conv(4, 4, groups=4), conv(4, 5, 1), nn.BatchNorm2d(5), size=5),
        IMAGE,
        {"2", "3"},
    ),
    "another layer with zeros around": (lambda: behind(conv(4, 4, padding=1), nn.BatchNorm2d(4)), IMAGE, {"1"}),
    "a sum": (lambda: norm(lambda m, x: m.out(m.n(m.a(x) - 2 * m.b(x)).relu()), b=dense(4, 6)), (4,), {"a", "b"}),
    "put together": (
        lambda: Net(
            lambda m, x: m.out(m.n(torch.cat([m.a(x), m.b(x)], 1)).relu()),
            a=dense(4, 3),
            b=dense(4, 3),
            n=nn.BatchNorm1d(6),
            out=dense(6, 2),
        ),
        (4,),
        {"a", "b"},
    ),
    "seen elsewhere": (
        lambda: norm(lambda m, x: given(m.a(x), lambda h: m.out(m.n(h).relu() + h))),
        (4,),
        set(),
    ),
    "two norms": (
        lambda: norm(lambda m, x: given(m.a(x), lambda h: m.out(m.n(h) + m.k(h).tanh())), k=nn.BatchNorm1d(6)),
        (4,),
        {"a"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_known_biases_before_a_norm_are_found(name, monkeypatch):
    monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    make, shape, expected = CASES[name]
    torch.manual_seed(0)
    traced = trace(make(), shape)
    assert set(traced.structure.shifts) == expected
    of = orbits(traced.structure, shift_invariant=True)
    rng = torch.Generator().manual_seed(0)
    weights, copy = redraw(traced.spec, 1, rng), exact_copy(traced.module)
    inputs = torch.randn(12, *shape, generator=rng, dtype=torch.float64)
    action = random_action(of, 1, rng, kinds=["normalisation"])
    before = run_exactly(copy, traced.spec, weights, inputs)
    after = run_exactly(copy, traced.spec, apply_action(of, action, weights), inputs)
    assert (after - before).abs().max() <= 1e-9 * before.abs().max()


@pytest.mark.slow
def test_a_wrong_rule_is_frozen_by_the_check(monkeypatch):
    """A ReLU taken for something that shifts its outputs as its inputs were."""
    monkeypatch.setattr(shifts, "SAME", shifts.SAME | {"relu"})
    traced = trace(CASES["a ReLU"][0](), IMAGE)
    assert traced.structure.shifts == ()
    assert [(entry.op, entry.place) for entry in traced.frozen] == [("self-check", "0")]
