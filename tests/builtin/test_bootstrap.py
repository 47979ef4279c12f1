"""The bootstrap of `trade_off`: data of each network's own, as its z says."""

import math

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import hyperframe as hf
from hyperframe.builtin.objectives.trade_off import Options, TradeOff, bootstrap
from hyperframe.builtin.objectives.trade_off.bootstrap import Bootstrap
from hyperframe.errors import ConfigError, MemoryShortageError
from hyperframe.runtime.rng import stream

EXAMPLES = 20_000
X, Y = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 4


def counts(kind, code, seed=0):
    ids = torch.arange(EXAMPLES).expand(len(code), EXAMPLES)
    return Bootstrap(kind)(code, ids, EXAMPLES, seed)


@given(st.floats(0.1, math.pi - 0.1), st.integers(0, 2**32))
def test_two_networks_share_data_by_the_angle_between_their_codes(angle, seed):
    """The signs of two normal numbers agree with the probability 1 − angle / π."""
    code = torch.tensor([[3.0, 0.0], [0.2 * math.cos(angle), 0.2 * math.sin(angle)]], dtype=torch.float64)
    one, other = counts("bernoulli", code, seed)
    share, wanted = float((one == other).double().mean()), 1 - angle / math.pi
    assert abs(share - wanted) < 6 * math.sqrt(wanted * (1 - wanted) / EXAMPLES)
    assert set(one.tolist()) == {0.0, 2.0}


@given(st.integers(0, 2**32))
def test_the_exponential_weights_are_exponential(seed):
    """P(v < q) = 1 − exp(−q), within the bound of Kolmogorov and Smirnov."""
    code = torch.randn(2, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for v in counts("exponential", code, seed):
        ranks = torch.arange(1, EXAMPLES + 1, dtype=torch.float64) / EXAMPLES
        assert float((-torch.expm1(-v.sort().values) - ranks).abs().max()) < 2.5 / math.sqrt(EXAMPLES)


def test_both_kinds_are_functions_of_the_same_normal_number():
    """u of an example is its row's product with the code of length 1; 1 − Φ is summed up here the plain way."""
    code = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]], dtype=torch.float64)
    rows = torch.randn(EXAMPLES, 3, generator=stream(5, "bootstrap weights")).double()
    u = code @ rows.T / code.norm(dim=1, keepdim=True)
    assert torch.equal(counts("bernoulli", code, 5), 2 * (u > 0).double())
    torch.testing.assert_close(
        counts("exponential", code, 5), -torch.log(torch.erfc(u / math.sqrt(2)) / 2), rtol=1e-9, atol=1e-12
    )


def test_extreme_numbers_stay_finite():
    made = Bootstrap("exponential")
    made(torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.long), 2, 0)
    (rows,) = made._rows.values()
    rows.copy_(torch.tensor([[30.0], [-30.0]]))  # of which 1 − Φ is 0 and 1 in float32
    found = made(torch.ones(1, 1), torch.tensor([[0, 1]]), 2, 0)
    assert float(found[0, 0]) == pytest.approx(454.3212, rel=1e-5)
    assert float(found[0, 1]) == 0


def test_another_seed_gives_other_data_and_the_rows_are_drawn_once(monkeypatch):
    made, code, ids = Bootstrap("bernoulli"), torch.eye(3), torch.arange(100).expand(3, 100)
    first = made(code, ids, 100, 0)
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap, "stream", None)  # drawn again it would fail
        assert torch.equal(made(code, ids, 100, 0), first)
    assert not torch.equal(made(code, ids, 100, 1), first)
    assert torch.equal(made(code, ids, 100, 0), first)


def test_without_a_bootstrap_nothing_is_weighed():
    assert TradeOff(Options()).example_weights(torch.eye(2), torch.zeros(2, 3, dtype=torch.long), 5, 0) is None


class Own(hf.ClassificationTask):
    """The same inputs in every split, with labels that can be others in training."""

    name, input_shape, num_outputs = "own", (3,), 4

    def __init__(self, labels=Y):
        self.labels = labels

    def data(self, split):
        return hf.Data(X, self.labels if split == "train" else Y)


SETTINGS = {
    **{key: value for key, value in tiny.GENERATED.items() if key != "generator.hidden"},
    "generator": "direct",
    "generator.networks": 4,
    "diversity": [],
    "trainer.steps": 5,
    "trainer.checkpoint_every": 2,
    "objective.bootstrap": "bernoulli",
}


def train(out, labels=Y, **settings):
    overrides = {**SETTINGS, **{key.replace("__", "."): value for key, value in settings.items()}}
    return hf.train(module=nn.Linear(3, 4), data=Own(labels), overrides=overrides, out=out)


@pytest.mark.slow
def test_a_network_never_learns_from_examples_outside_of_its_bootstrap(tmp_path):
    """Other labels of just those examples that do not count for network 2 leave it as it is, and only it."""
    own = Bootstrap("bernoulli")(torch.eye(4), torch.arange(60).expand(4, 60), 60, seed=0)[2]
    assert 10 < int((own == 0).sum()) < 50
    runs = [train(tmp_path / "a"), train(tmp_path / "b", torch.where(own == 0, (Y + 1) % 4, Y))]
    one, other = (next(iter(run.sample(4).weights.values())) for run in runs)
    assert [torch.equal(one[n], other[n]) for n in range(4)] == [False, False, True, False]


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_bit_for_bit(tmp_path):
    settings = {**tiny.PERCEPTRON, "objective.bootstrap": "exponential", "trainer.steps": 6}
    whole = hf.train("digits", settings, out=tmp_path / "whole")
    hf.train("digits", {**settings, "trainer.stop_after": 3}, out=tmp_path / "cut")
    parts = whole.experiment.generator.state_dict(), hf.resume(tmp_path / "cut").experiment.generator.state_dict()
    assert all(torch.equal(parts[0][name], parts[1][name]) for name in parts[0])


def test_a_loss_that_is_not_per_example_is_refused(tmp_path):
    task = Own()
    task.loss = lambda outputs, labels: nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten())
    with pytest.raises(
        ConfigError, match=r"task 'own': for .* its loss must be one number for every example, \[1, 2\]"
    ):
        hf.train(module=nn.Linear(3, 4), data=task, overrides=SETTINGS, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_bootstrap_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"objective\.bootstrap: expected one of none, bernoulli, exponential"):
        train(tmp_path / "run", objective__bootstrap="poisson")


def test_examples_that_do_not_fit_are_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "missing_memory", lambda needed: f"{needed} bytes are needed")
    message = r"objective\.bootstrap=bernoulli keeps 4 numbers for each of 60 examples: 960 bytes are needed"
    with pytest.raises(MemoryShortageError, match=message):
        train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda code, ids: code, r"must give a number for every network and example, \[4, 2\], but gives \[4, 4\]"),
        (lambda code, ids: code[ids, ids, ids, 0], "does not work with this generator: IndexError"),
    ],
)
def test_an_objective_that_weighs_wrongly_is_refused(tmp_path, monkeypatch, weights, message):
    monkeypatch.setattr(TradeOff, "example_weights", lambda self, code, ids, *others: weights(code, ids))
    with pytest.raises(ConfigError, match=f"objective: example_weights {message}"):
        train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
