"""Recurrent layers by their equations: the same numbers, many networks at once, and the symmetries of their units."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import Net, counts, dense
from torch import nn
from tracing_trials import case, check_symmetries

import hyperframe as hf
from hyperframe.errors import SpecError
from hyperframe.networks.target import Target
from hyperframe.targets.recurrences import AsEquations
from hyperframe.targets.symmetry.exact import redraw
from hyperframe.targets.symmetry.orbits import apply_action, orbits, random_action
from hyperframe.targets.symmetry.sorting import Sorting
from hyperframe.targets.tracing import tracer
from hyperframe.targets.tracing.tracer import trace

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


def tensors(outputs):
    """All tensors of what a recurrent layer returns."""
    return [outputs] if isinstance(outputs, torch.Tensor) else [x for part in outputs for x in tensors(part)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(
    layers=st.integers(1, 3),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    single=st.booleans(),
    begun=st.booleans(),
    projected=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equations_give_what_torch_gives(
    kind, layers, bias, batch_first, bidirectional, single, begun, projected, seed
):
    torch.manual_seed(seed)
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    options |= {"proj_size": 2} if projected and kind == "lstm" else {}
    net = KINDS[kind](3, 4, layers, **options).double()
    x = torch.randn((5, 3) if single else (5, 2, 3), dtype=torch.float64)
    _, last = net(x)
    given = ((last,) if isinstance(last, torch.Tensor) else (tuple(map(torch.tanh, last)),)) if begun else ()
    with AsEquations():
        found = net(x, *given)
    for one, other in zip(tensors(found), tensors(net(x, *given)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [True, False])
def test_equations_of_cells_give_what_torch_gives(kind, bias):
    net, x = CELLS[kind](3, 4, bias=bias).double(), torch.randn(2, 3, dtype=torch.float64)
    with AsEquations():
        found = net(x)
    for one, other in zip(tensors(found), tensors(net(x)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_nonlinearity_and_dropout_between_layers():
    net, x = nn.RNN(3, 4, 2, nonlinearity="relu", dropout=1.0).double(), torch.randn(5, 2, 3, dtype=torch.float64)
    second = nn.RNN(4, 4, nonlinearity="relu").double()
    second.load_state_dict(
        {name.replace("l1", "l0"): value for name, value in net.state_dict().items() if "l1" in name}
    )
    expected = second(torch.zeros(5, 2, 4, dtype=torch.float64))[0], net.eval()(x)[0]
    with AsEquations():
        torch.testing.assert_close(net.train()(x)[0], expected[0])
        torch.testing.assert_close(net.eval()(x)[0], expected[1])


def rows(kind, layers=1):
    return Net(lambda m, x: m.out(m.net(x)[0][:, -1]), net=KINDS[kind](2, 5, layers, batch_first=True), out=dense(5, 3))


def unrolled(kind):
    def forward(m, x):
        state = None
        for step in x.unbind(1):
            state = m.net(step, state)
        return m.out(state[0] if kind == "lstm" else state)

    return Net(forward, net=CELLS[kind](2, 5), out=dense(5, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [rows, unrolled])
def test_hidden_units_change_places_and_signs(kind, make, monkeypatch):
    """All that is odd in a cell lets signs pass; a factor ends in tanh."""
    monkeypatch.setattr(tracer, "verify", lambda module, structure, inputs: (structure, ()))
    torch.manual_seed(0)
    traced, of, copy, weights, inputs = case(make(kind), (3, 2))
    assert traced.frozen == ()
    assert of.counts == counts(sign=5, permutation=5, logit_shift=6)
    for seed in range(2):
        check_symmetries(traced, of, copy, weights, inputs, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_many_networks_run_at_once_as_each_alone(kind):
    torch.manual_seed(0)
    module = rows(kind, layers=2)
    traced = trace(module, (3, 2))
    target = Target(module, traced.spec, traced.structure).to("cpu", torch.float64)
    rng = torch.Generator().manual_seed(0)
    weights, inputs = redraw(traced.spec, 3, rng), torch.randn(4, 3, 2, generator=rng, dtype=torch.float64)
    outputs = target.forward(weights, inputs, shared=True)
    alone = torch.stack([target.network(weights, number)(inputs) for number in range(3)])
    torch.testing.assert_close(outputs, alone)
    of = orbits(traced.structure, True)
    moved = apply_action(of, random_action(of, 3, rng, kinds=["permutation"]), weights)
    one, other = (Sorting(of)(these) for these in (weights, moved))
    assert all(torch.equal(one[layer], other[layer]) for layer in one)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_module_trains(tmp_path, kind):
    data = torch.randn(40, 3, 2), torch.arange(40) % 3
    run = hf.train(overrides={**tiny.GENERATED, "trainer.steps": 1}, module=rows(kind), data=data, out=tmp_path / "run")
    assert run.sample(2).predict(data[0]).shape == (2, 40, 3)


def test_a_packed_sequence_is_refused_with_what_helps():
    class Packing(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps, self.out = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.full((len(x),), 5), batch_first=True)
            return self.out(self.steps(packed)[1][-1])

    with pytest.raises(SpecError, match="cannot be traced: sequences that are packed cannot be followed: pad them"):
        hf.trace(Packing(), (5, 3))
