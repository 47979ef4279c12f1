"""Bytes that operations move, against what can be counted by hand, and the rates of a device."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hyperframe.bench.speed import floor
from hyperframe.bench.speed.clock import Clock
from hyperframe.bench.speed.floor import Traffic, count, matrix_product_rate, memory_rate
from hyperframe.runtime.memory import PeakMemory

SIZES = st.integers(1, 7)


def moved(call):
    with Traffic() as traffic:
        call()
    return traffic.bytes


@given(SIZES, SIZES, SIZES)
def test_a_product_reads_both_factors_and_writes_one_matrix(rows, inner, columns):
    one, other = torch.ones(rows, inner, dtype=torch.float64), torch.ones(inner, columns, dtype=torch.float64)
    assert moved(lambda: one @ other) == 8 * (rows * inner + inner * columns + rows * columns)


def test_what_is_changed_in_place_is_read_and_written():
    one, other = torch.ones(5, 3), torch.ones(5, 3)
    assert moved(lambda: one.add_(other)) == 3 * one.nbytes
    assert moved(one.relu_) == 2 * one.nbytes
    assert moved(lambda: torch._foreach_add_([one, other], 1.0)) == 2 * (one.nbytes + other.nbytes)


def test_what_is_overwritten_is_not_read():
    one, other = torch.ones(5, 3), torch.ones(5, 3)
    assert moved(one.zero_) == one.nbytes
    assert moved(lambda: one.copy_(other)) == 2 * one.nbytes
    assert moved(lambda: torch.add(one, one, out=other)) == 2 * one.nbytes


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.view(-1),
        lambda x: x.T,
        lambda x: x[2:4, 1],
        lambda x: x.expand(4, *x.shape),
        lambda x: x.unbind(0),
        lambda x: x.reshape(3, 5),
        torch.Tensor.detach,
        torch.empty_like,
    ],
)
def test_a_view_moves_nothing(look):
    x = torch.ones(5, 3)
    assert moved(lambda: look(x)) == 0


def test_an_expanded_tensor_and_one_that_is_read_twice_count_once():
    x = torch.ones(5, 3)
    assert moved(lambda: x * x) == 2 * x.nbytes
    assert moved(lambda: x.expand(100, 5, 3).sum()) == x.nbytes + 4


def test_what_is_chosen_of_a_large_tensor_counts_and_not_all_of_it():
    x, chosen = torch.ones(1000, 3), torch.tensor([5, 7])
    assert moved(lambda: x[chosen]) == moved(lambda: x.index_select(0, chosen)) == 2 * 24 + chosen.nbytes
    assert moved(x.cos) == 2 * x.nbytes


def test_backward_passes_count():
    layer, x = nn.Linear(3, 4, bias=False), torch.ones(5, 3)
    sizes = {"x": x.nbytes, "weight": layer.weight.nbytes, "outputs": 5 * 4 * 4}

    outputs = layer(x)
    assert moved(partial(layer, x)) == sum(sizes.values())
    seed = torch.ones_like(outputs)
    assert moved(lambda: torch.autograd.grad(outputs, layer.weight, seed)) >= sum(sizes.values())


def test_operations_and_bytes_are_counted_together():
    one = torch.ones(4, 4)
    assert count(lambda: one @ one) == (2 * 4**3, 2 * one.nbytes)
    assert count(lambda: torch.func.vmap(torch.mm)(one[None].clone(), one[None].clone()))[0] == 2 * 4**3


def test_rates_are_positive(monkeypatch):
    monkeypatch.setattr(floor, "MATRIX", {"cpu": 16})
    monkeypatch.setattr(floor, "COPIED", {"cpu": 64})
    clock = Clock(torch.device("cpu"), PeakMemory())
    assert matrix_product_rate(clock) > 0
    assert memory_rate(clock) > 0
