"""Conformal prediction: thresholds and scores, and the coverage that is promised."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hyperframe.tasks.conformal import (
    aps_scores,
    deviation_of_coverage,
    fewest_examples,
    intervals,
    lac_scores,
    of_labels,
    rank,
    residual_scores,
    threshold_of,
)

ALPHAS = st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.2, 0.25, 0.3, 0.5, 0.9])
SEEDS = st.integers(0, 999)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("examples", "alpha", "place"),
    [
        (9, 0.1, 9),
        (10, 0.1, 10),
        (19, 0.1, 18),
        (20, 0.1, 19),
        (99, 0.07, 93),
        (1, 0.5, 1),
        (8, 0.1, 9),
        (3, 0.25, 3),
        (19, 0.7, 6),
    ],
)
def test_the_place_is_that_of_the_definition(examples, alpha, place):
    assert rank(examples, alpha) == place


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan])
def test_a_level_that_is_none(alpha):
    with pytest.raises(ValueError, match="alpha: expected a number above 0 and below 1"):
        rank(5, alpha)


@given(st.integers(1, 300), ALPHAS, SEEDS)
def test_the_threshold_is_the_smallest_that_covers_enough_of_calibration_and_one_more(examples, alpha, seed):
    scores = normal(examples, seed=seed)
    threshold = threshold_of(scores, alpha)
    wanted = (1 - Fraction(repr(alpha))) * (examples + 1)
    if examples < fewest_examples(alpha):
        assert threshold.isinf()
        assert examples < wanted
        return
    assert int((scores <= threshold).sum()) >= wanted
    assert int((scores < threshold).sum()) < wanted


@given(st.integers(1, 40), ALPHAS, SEEDS)
def test_coverage_is_exact_over_all_places_of_a_new_score(examples, alpha, seed):
    """Of n + 1 exchangeable scores each is the new one once: it is covered k times of n + 1, if none are equal."""
    scores = normal(examples + 1, seed=seed)
    covered = sum(
        float(scores[one]) <= float(threshold_of(torch.cat([scores[:one], scores[one + 1 :]]), alpha))
        for one in range(len(scores))
    )
    assert covered == rank(examples, alpha)
    assert (
        1 - Fraction(repr(alpha))
        <= Fraction(covered, examples + 1)
        < 1 - Fraction(repr(alpha)) + Fraction(1, examples + 1)
    )


@given(st.integers(1, 20), st.integers(1, 3), ALPHAS, SEEDS)
def test_equal_scores_cover_no_less(examples, different, alpha, seed):
    scores = (different * uniform(examples + 1, seed=seed)).floor()
    covered = sum(
        bool(scores[one] <= threshold_of(torch.cat([scores[:one], scores[one + 1 :]]), alpha))
        for one in range(len(scores))
    )
    assert covered >= rank(examples, alpha)


@given(st.integers(1, 50), ALPHAS, SEEDS)
def test_the_order_of_examples_does_not_matter_and_monotone_maps_commute(examples, alpha, seed):
    scores = normal(examples, 2, seed=seed)
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    threshold = threshold_of(scores, alpha)
    assert torch.equal(threshold_of(scores[order], alpha), threshold)
    for grow in (torch.exp, lambda value: 3 * value - 1, torch.Tensor.sinh):
        torch.testing.assert_close(threshold_of(grow(scores), alpha), grow(threshold))
    assert torch.equal(threshold[1], threshold_of(scores[:, 1], alpha))


@given(st.integers(1, 99), ALPHAS, ALPHAS, SEEDS)
def test_a_lower_level_covers_what_a_higher_one_does(examples, alpha, other, seed):
    low, high = sorted([alpha, other])
    scores = normal(examples, seed=seed)
    assert threshold_of(scores, low) >= threshold_of(scores, high)


@settings(max_examples=10)
@given(st.integers(9, 60), st.sampled_from([0.1, 0.2, 0.4]), SEEDS)
def test_the_deviation_of_coverage_is_that_of_draws_of_calibration_examples(examples, alpha, seed):
    """The coverage of a threshold on uniform scores is the threshold."""
    coverages = threshold_of(uniform(examples, 20_000, seed=seed), alpha)
    assert float(coverages.mean()) == pytest.approx(rank(examples, alpha) / (examples + 1), abs=0.005)
    assert float(coverages.std()) == pytest.approx(deviation_of_coverage(examples, alpha), rel=0.05)


def test_too_few_examples_have_no_deviation():
    assert deviation_of_coverage(5, 0.1) == 0
    assert deviation_of_coverage(9, 0.1) > 0


PROBABILITIES = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(st.just(classes), st.integers(1, 8), SEEDS, st.sampled_from([0.3, 1.0, 20.0]))
)


def probabilities_of(classes, examples, seed, sharpness):
    return (sharpness * normal(examples, classes, seed=seed)).softmax(-1)


@given(PROBABILITIES)
def test_scores_of_adaptive_sets_are_those_of_the_definition(drawn):
    p = probabilities_of(*drawn)
    u = uniform(len(p), seed=1)
    found = aps_scores(p, u)
    for example, row in enumerate(p.tolist()):
        for label, own in enumerate(row):
            wanted = sum(other for other in row if other > own) + float(u[example]) * own
            assert float(found[example, label]) == pytest.approx(wanted, abs=1e-12)


@given(PROBABILITIES)
def test_classes_can_change_places_and_more_probable_ones_come_first(drawn):
    p = probabilities_of(*drawn)
    u, order = uniform(len(p), seed=1), torch.randperm(p.shape[1], generator=torch.Generator().manual_seed(2))
    for scores in (lac_scores, lambda values: aps_scores(values, u)):
        found = scores(p)
        assert torch.equal(scores(p[:, order]), found[:, order])
        assert (found.gather(1, p.argsort(1, descending=True)).diff(dim=1) >= 0).all()


def test_equal_probabilities_have_equal_scores():
    found = aps_scores(torch.tensor([[0.25, 0.25, 0.25, 0.25]]), torch.tensor([0.5]))
    assert found.tolist() == [[0.125] * 4]


def test_scores_of_labels_that_follow_the_probabilities_are_uniform():
    """So adaptive sets have the coverage that their threshold says, for each input by itself."""
    p = probabilities_of(5, 20_000, 0, 1.0)
    labels = torch.multinomial(p, 1, generator=torch.Generator().manual_seed(3))[:, 0]
    scores = of_labels(aps_scores(p, uniform(len(p), seed=4)), labels)
    for level in (0.1, 0.5, 0.9):
        assert float((scores <= level).double().mean()) == pytest.approx(level, abs=0.015)
        sure = p.max(1).values > 0.6
        assert float((scores[sure] <= level).double().mean()) == pytest.approx(level, abs=0.025)


@given(st.integers(9, 40), SEEDS, st.sampled_from([0.25, 8.0]))
def test_intervals_follow_the_units(examples, seed, factor):
    mean, y, deviation = (normal(examples, seed=seed + shift) for shift in (0, 1, 2))
    deviation = deviation.abs() + 0.1

    def ends(mean, deviation, y):
        return intervals(mean, deviation, threshold_of(residual_scores(mean, deviation, y), 0.1))

    found = ends(mean, deviation, y)
    torch.testing.assert_close(ends(factor * mean + 3, factor * deviation, factor * y + 3), factor * found + 3)
    torch.testing.assert_close(ends(mean, factor * deviation, y), found)  # only their proportions count
    inside = (found[:, 0] <= y + 1e-12) & (y - 1e-12 <= found[:, 1])
    assert int(inside.sum()) >= rank(examples, 0.1)


@given(st.integers(9, 40), SEEDS)
def test_values_without_a_deviation_are_points_or_everything(examples, seed):
    assume(examples > 10)
    mean, y = normal(examples, seed=seed), normal(examples, seed=seed + 1)
    y[0] = mean[0]
    scores = residual_scores(mean, torch.zeros_like(mean), y)
    assert scores[0] == 0
    assert scores[1:].isinf().all()
    everything = intervals(mean, torch.zeros_like(mean), threshold_of(scores, 0.1))
    assert everything.isinf().all()
    assert not everything.isnan().any()
    assert torch.equal(intervals(mean, torch.zeros_like(mean), torch.tensor(2.0)), torch.stack([mean, mean], -1))
