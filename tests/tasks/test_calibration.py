"""Figures of calibration agree with other libraries, and have the right values at the edges."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.tasks.calibration import at_temperature, brier_scores, fit_temperature, log_likelihoods, results_of


def drawn(seed, examples=40, classes=4):
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(examples, classes, generator=rng, dtype=torch.float64)
    return logits, torch.multinomial(logits.softmax(-1), 1, generator=rng)[:, 0]


@pytest.mark.slow
@given(st.integers(0, 2**31))
def test_figures_are_those_of_scikit_learn(seed):
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

    logits, labels = drawn(seed)
    p = logits.softmax(-1)
    found = results_of(p, labels)
    one_hot = torch.nn.functional.one_hot(labels, 4).double()
    assert found["nll"] == pytest.approx(log_loss(labels, p, labels=range(4)), abs=1e-12)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, p.argmax(1)), abs=1e-12)
    columns = [brier_score_loss(one_hot[:, k], p[:, k], pos_label=1) for k in range(4)]
    assert found["brier"] == pytest.approx(sum(columns), abs=1e-12)


@pytest.mark.slow
@given(st.integers(0, 2**31))
def test_no_other_temperature_is_better(seed):
    logits, labels = drawn(seed)
    best = fit_temperature(logits.log_softmax(-1), labels)
    assert 0.03 < best < 30

    def nll(temperature):
        return -float(log_likelihoods(at_temperature(logits, temperature), labels).mean())

    assert all(nll(best) <= nll(factor * best) + 1e-9 for factor in (0.9, 0.99, 1.01, 1.1))


@pytest.mark.slow
@given(st.integers(0, 2**31), st.sampled_from([0.25, 0.5, 2.0]))
def test_a_temperature_undoes_a_factor(seed, factor):
    logits, labels = drawn(seed)
    once = fit_temperature(logits, labels)
    if 0.1 < once < 10:
        assert fit_temperature(factor * logits, labels) == pytest.approx(factor * once, rel=1e-6)


def test_edge_values():
    labels = torch.tensor([0, 1, 2])
    perfect = torch.eye(3)
    assert results_of(perfect, labels) == {"accuracy": 1.0, "nll": 0.0, "brier": 0.0, "ece": 0.0}
    constant = torch.full((3, 3), 1 / 3)
    found = results_of(constant, labels)
    assert found["nll"] == pytest.approx(math.log(3))
    assert found["brier"] == pytest.approx(2 / 3)
    wrong = results_of(perfect, labels.roll(1))
    assert wrong["accuracy"] == 0
    assert wrong["brier"] == 2
    assert math.isfinite(wrong["nll"])
    for p, y in ((perfect, labels), (perfect, labels.roll(1)), (constant, labels)):
        temperature = fit_temperature(p.log(), y)
        assert 0.02 <= temperature <= 50.0001
        assert all(math.isfinite(value) for value in results_of(at_temperature(p.log(), temperature), y).values())


def test_a_single_class_and_shapes():
    p = torch.rand(5, 7, 3, dtype=torch.float64).softmax(-1)
    labels = torch.randint(3, (7,))
    assert brier_scores(p, labels).shape == log_likelihoods(p, labels).shape == (5, 7)
    torch.testing.assert_close(brier_scores(p, labels)[2], brier_scores(p[2], labels))
