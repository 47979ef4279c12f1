"""Recurrent modules by their equations: equal to torch's own, with the symmetries that recurrent networks have."""

import copy
import operator

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.errors import HyperframeError
from hyperframe.targets.recurrent.layers import UNROLLED, roll_up, unroll
from hyperframe.targets.symmetry.orbits import orbits

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "tanh": nn.RNN, "relu": nn.RNN}
STEPS, FEATURES, HIDDEN = 5, 3, 4


@st.composite
def modules(draw):
    """A recurrent layer in float64, of any form, in evaluation mode."""
    kind = draw(st.sampled_from(sorted(LAYERS)))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bidirectional": draw(st.booleans()),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
    }
    if kind == "lstm":
        options["proj_size"] = draw(st.sampled_from([0, 2]))
    if kind in ("tanh", "relu"):
        options["nonlinearity"] = kind
    torch.manual_seed(draw(st.integers(0, 1000)))
    return LAYERS[kind](FEATURES, HIDDEN, **options).double().eval()


def unrolled(module):
    copied = copy.deepcopy(module)
    unroll(copied)
    return copied


def first_states(module, *examples):
    """A state to begin with, in the form that the module takes."""
    count = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or HIDDEN, HIDDEN][: 2 if module.mode == "LSTM" else 1]
    states = tuple(torch.randn(count, *examples, size, dtype=torch.float64) for size in sizes)
    return states if module.mode == "LSTM" else states[0]


@settings(max_examples=60, deadline=None)
@given(module=modules(), examples=st.sampled_from([(), (1,), (3,)]), begins=st.booleans())
def test_outputs_states_and_gradients_are_those_of_torch(module, examples, begins):
    mine, x = unrolled(module), torch.randn(STEPS, *examples, FEATURES, dtype=torch.float64)
    x = x.transpose(0, 1) if module.batch_first and examples else x
    given = (first_states(module, *examples),) if begins else ()
    found = [_flat(each(x, *given)) for each in (module, mine)]
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(sum(value.square().sum() for value in values), list(each.parameters()))
        for each, values in zip((module, mine), found, strict=True)
    ]
    for expected, got in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def _flat(results):
    outputs, states = results
    return [outputs, *(states if isinstance(states, tuple) else (states,))]


def test_a_cell_is_that_of_torch():
    cell = nn.LSTMCell(FEATURES, HIDDEN).double()
    mine, state, own = unrolled(cell), None, None
    for step in torch.randn(STEPS, 2, FEATURES, dtype=torch.float64):
        state, own = cell(step, state), mine(step, own)
        for expected, got in zip(state, own, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_dropout_lies_between_layers_in_training_only():
    module, x = nn.GRU(FEATURES, HIDDEN, 2, dropout=1.0), torch.randn(STEPS, 2, FEATURES)
    mine = unrolled(module)
    torch.testing.assert_close(mine(x)[0], module(x)[0])  # all of the first layer's outputs are dropped
    trained = mine(x)[0]
    torch.testing.assert_close(mine.eval()(x)[0], module.eval()(x)[0])
    assert not torch.allclose(trained, mine(x)[0])


@pytest.mark.parametrize("kind", UNROLLED, ids=operator.attrgetter("__name__"))
def test_unrolling_is_undone(kind):
    module = nn.Sequential(kind(FEATURES, HIDDEN))
    names = list(module.state_dict())
    unroll(module)
    assert type(module[0]) is not kind
    assert isinstance(module[0], kind)
    assert list(module.state_dict()) == names
    roll_up(module)
    assert type(module[0]) is kind


def test_a_class_of_ones_own_is_left_as_it_is():
    class Own(nn.LSTM):
        pass

    module = Own(FEATURES, HIDDEN)
    unroll(module)
    assert type(module) is Own


def test_packed_sequences_are_refused():
    module = unrolled(nn.LSTM(FEATURES, HIDDEN))
    with pytest.raises(TypeError, match="pad sequences, instead of packing them"):
        module(nn.utils.rnn.pack_sequence([torch.randn(3, FEATURES), torch.randn(2, FEATURES)]))


class Reader(nn.Module):
    """A recurrent network that reads sequences, and a dense layer on its last outputs."""

    def __init__(self, layer):
        super().__init__()
        self.steps = layer
        self.out = nn.Linear(HIDDEN * (2 if layer.bidirectional else 1), 3)

    def forward(self, x):
        return self.out(self.steps(x)[0][:, -1])


@pytest.mark.parametrize(
    ("layer", "units", "factors"),
    [
        (nn.LSTM(FEATURES, HIDDEN, batch_first=True), HIDDEN, "sign"),
        (nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True), 2 * HIDDEN, "sign"),
        (nn.LSTM(FEATURES, HIDDEN, batch_first=True, bias=False), HIDDEN, "sign"),
        (nn.GRU(FEATURES, HIDDEN, batch_first=True), HIDDEN, "sign"),
        (nn.GRU(FEATURES, HIDDEN, batch_first=True, bidirectional=True), 2 * HIDDEN, "sign"),
        (nn.RNN(FEATURES, HIDDEN, batch_first=True), HIDDEN, "sign"),
        (nn.RNN(FEATURES, HIDDEN, batch_first=True, nonlinearity="relu"), HIDDEN, "scaling"),
    ],
    ids=["lstm", "two layers", "no bias", "gru", "bidirectional", "tanh", "relu"],
)
def test_hidden_units_change_places_and_signs_or_factors(layer, units, factors):
    traced = hf.trace(Reader(layer), [STEPS, FEATURES])
    assert not traced.frozen
    counts = orbits(traced.structure, shift_invariant=False).counts
    assert {kind: count for kind, count in counts.items() if count} == {"permutation": units, factors: units}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_recurrent_networks_train_and_single_ones_are_torchs_own(tmp_path, kind):
    x, y = torch.randn(60, STEPS, FEATURES), torch.arange(60) % 3
    module = Reader(LAYERS[kind](FEATURES, HIDDEN, 2, batch_first=True))
    overrides = {**tiny.GENERATED, "trainer.steps": 2, "task.standardise": False}
    nets = hf.train(overrides=overrides, module=module, data=(x, y), out=tmp_path / "run").sample(3)
    together = nets.predict(x)
    for number in range(3):
        net = nets[number]
        assert type(net.steps) is LAYERS[kind]
        torch.testing.assert_close(net(x).softmax(-1), together[number], rtol=0, atol=1e-6)


def test_a_sequence_that_is_packed_is_refused_before_anything_is_written(tmp_path):
    class Packing(Reader):
        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.full((len(x),), STEPS), batch_first=True)
            return self.out(self.steps(packed)[1][0][-1])

    module = Packing(nn.LSTM(FEATURES, HIDDEN, batch_first=True))
    data = torch.randn(60, STEPS, FEATURES), torch.arange(60) % 3
    with pytest.raises(HyperframeError, match="pad sequences, instead of packing them"):
        hf.train(overrides={**tiny.GENERATED, "trainer.steps": 2}, module=module, data=data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
