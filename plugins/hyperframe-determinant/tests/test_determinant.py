"""The term keeps the laws of diversity terms, gives known answers, and trains networks."""

from math import exp, log

import pytest
import torch
from hyperframe_determinant import LogDeterminant, Options

import hyperframe as hf
from hyperframe.testing import checks, conformance


def value(rows, **options):
    return LogDeterminant(Options(**options))(hf.types.DiversityInputs(flat=rows))


def draw(networks=6, weights=20, dtype=torch.float64):
    return torch.randn(networks, weights, generator=torch.Generator().manual_seed(0), dtype=dtype)


@conformance("log_determinant", kind="diversity")
def test_laws(check):
    check()


@pytest.mark.slow
@conformance("log_determinant", {"bandwidth": 2.0, "jitter": 1e-3}, kind="diversity")
def test_laws_with_a_wide_kernel(check):
    check()


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 3.0])
def test_rows_at_equal_distances(bandwidth):
    # Of the n rows of an identity |θ_i − θ_j|² = 2 and m = 1 − 1/n; K has two eigenvalues.
    n, jitter = 5, 1e-3
    same = exp(-1 / (bandwidth**2 * (1 - 1 / n)))
    expected = -(n - 1) * log(1 + jitter - same) - log(1 + jitter + (n - 1) * same)
    found = value(torch.eye(n, dtype=torch.float64), bandwidth=bandwidth, jitter=jitter)
    assert float(found) == pytest.approx(expected, rel=1e-10)


def test_two_rows_have_one_value():
    # |θ_1 − θ_2|² = 4 m, wherever they are.
    expected = -log((1 + 1e-4) ** 2 - exp(-4))
    assert float(value(draw(networks=2))) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("jitter", [1e-4, 1e-9])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e-15])
def test_copies_have_the_largest_value(dtype, jitter, size):
    rows = (size * draw(1, dtype=dtype)).repeat(6, 1).requires_grad_()
    found = value(rows, jitter=jitter)
    assert found.dtype == dtype
    (gradient,) = torch.autograd.grad(found, [rows])
    assert gradient.isfinite().all()
    assert float(found.detach()) == pytest.approx(-5 * log(jitter) - log(6 + jitter), rel=1e-5)
    assert float(found.detach()) > float(value(draw(dtype=dtype), jitter=jitter))


def test_copies_that_differ_by_rounding_are_copies():
    rows = draw(1, dtype=torch.float32).repeat(6, 1)
    rounded = rows * (1 + torch.finfo(torch.float32).eps * torch.randint(-1, 2, rows.shape))
    assert not torch.equal(rounded, rows)
    assert float(value(rounded)) == pytest.approx(float(value(rows)), rel=0.01)


def test_one_network_that_comes_twice_is_less_diverse():
    rows = draw()
    assert float(value(torch.cat([rows[:5], rows[:1]]))) > float(value(rows)) + 1


def test_factor_and_place_do_not_matter():
    rows = draw()
    assert float(value(1e6 * rows)) == pytest.approx(float(value(rows)), rel=1e-10)
    assert float(value(rows + 3.0)) == pytest.approx(float(value(rows)), rel=1e-10)


@pytest.mark.parametrize("bandwidth", [0.5, 2.0])
def test_the_derivative_agrees_with_differences(bandwidth):
    rows = draw(4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda flat: value(flat, bandwidth=bandwidth), [rows])


def test_a_descent_spreads_the_networks():
    rows = (torch.ones(4, 6, dtype=torch.float64) + torch.arange(4.0)[:, None] + 0.01 * draw(4, 6)).requires_grad_()
    before = float(value(rows).detach())
    optimizer = torch.optim.Adam([rows], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        value(rows).backward()
        optimizer.step()
    # Four rows cannot do better than at equal distances.
    best = float(value(torch.eye(4, dtype=torch.float64)))
    assert before > best + 0.1
    assert float(value(rows).detach()) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("options", [{"bandwidth": 0.0}, {"bandwidth": -1.0}, {"jitter": 0.0}], ids=str)
def test_wrong_options_are_refused(options):
    with pytest.raises(hf.HyperframeError, match=next(iter(options))):
        checks("log_determinant", options)


def test_it_trains(tmp_path):
    short = {"trainer.steps": 2, "trainer.networks": 8, "trainer.device": "cpu", "evaluation.networks": 2}
    run = hf.train("digits", {**short, "diversity": ["log_determinant"]}, out=tmp_path / "run")
    assert run.finished
