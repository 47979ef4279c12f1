"""The diversity term `sparsity`: known answers in the gauge `scale`, and symmetries, which do not change it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperframe.api import make_registry
from hyperframe.config.choices import choose
from hyperframe.config.schema import load_config
from hyperframe.experiment.build import build_experiment
from hyperframe.targets import flatten, unflatten
from hyperframe.targets.symmetry.orbits import apply_action, random_action
from hyperframe.types import DiversityInputs

REGISTRY = make_registry()
TERM = choose(REGISTRY, "diversity", "sparsity", "diversity").make(
    choose(REGISTRY, "entropy", "kozachenko_leonenko", "entropy").make()
)


def sparsity(flat):
    return float(TERM(DiversityInputs(flat=flat)))


@pytest.fixture(scope="module")
def built():
    of = ["trainer.device=cpu", "target.channels=[2,3]", "gauges=[scale,logit_shift]"]
    return build_experiment(load_config("digits", of, REGISTRY))


def drawn(built, seed, count=4):
    rows = torch.randn(
        count, built.target.spec.num_weights, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return unflatten(built.target.spec, rows)


@given(st.integers(2, 40))
def test_one_entry_of_a_filter_is_sparser_than_even_ones_of_the_same_norm(size):
    one, even = torch.zeros(1, size, dtype=torch.float64), torch.ones(1, size, dtype=torch.float64)
    one[0, size // 2] = -math.sqrt(size)
    assert float(one.norm()) == pytest.approx(float(even.norm()))
    assert sparsity(even) == 1
    assert sparsity(one) == pytest.approx(1 / math.sqrt(size), rel=1e-12)
    assert sparsity(torch.cat([one, even])) == pytest.approx((1 + 1 / math.sqrt(size)) / 2, rel=1e-12)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), moved=st.integers(0, 99))
def test_symmetries_that_the_gauge_fixes_leave_it_as_it_is(built, seed, moved):
    weights = drawn(built, seed)
    action = random_action(
        built.orbits, 4, torch.Generator().manual_seed(moved), kinds=["scaling", "logit_shift"], exponents=None
    )
    others = apply_action(built.orbits, action, weights)
    raw, other = (sparsity(flatten(built.target.spec, theta)) for theta in (weights, others))
    assert abs(other - raw) > 1e-6
    found, wanted = (sparsity(flatten(built.target.spec, built.gauge(theta))) for theta in (others, weights))
    assert found == pytest.approx(wanted, rel=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), factor=st.floats(0.01, 100))
def test_smaller_filters_are_no_sparser_ones(built, seed, factor):
    """Of a layer that writes units, whose filters have a norm in gauge: its size says nothing, its shape all."""
    weights = drawn(built, seed)
    scaled = weights | {"conv2": factor * weights["conv2"]}
    found, wanted = (built.gauge(theta)["conv2"] for theta in (scaled, weights))
    assert float(found.abs().mean()) == pytest.approx(float(wanted.abs().mean()), rel=1e-9)
    least = 1 / math.sqrt(wanted.shape[-1])
    assert least <= float(wanted.abs().mean()) <= 1 + 1e-12
