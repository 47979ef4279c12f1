"""The nearest-neighbour entropy estimator: laws, known entropies, brute force, gradients, coincident samples."""

import itertools
import math

import pytest
import torch
from entropy_trials import (
    COINCIDENT,
    NORMS,
    check_finite,
    check_known,
    digamma,
    every_variant,
    normal,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperframe.builtin.entropies.kozachenko_leonenko import KozachenkoLeonenko, Options
from hyperframe.testing import strategies


@st.composite
def samples(draw, minimum=4):
    """Samples [n, d] at generic points."""
    return normal(draw(strategies.sizes(minimum, 12)), draw(strategies.sizes(1, 5)), draw(strategies.seeds()))


def by_brute_force(points, dimension, options):
    """The estimate from all distances, sample by sample."""
    logs = []
    for i, point in enumerate(points):
        distances = sorted(float((point - other).norm(NORMS[options.distance])) for other in points[:i])
        distances += [float((point - other).norm(NORMS[options.distance])) for other in points[i + 1 :]]
        logs.append(math.log(sorted(distances)[options.neighbour - 1]))
    return digamma(len(points)) + dimension * sum(logs) / len(points)


def check_scale_law(estimate, points, factor, dimension, tolerance=1e-7):
    """H(a·X) = H(X) + d log a."""
    expected = estimate(points, dimension) + dimension * math.log(factor)
    assert abs(estimate(points * factor, dimension) - expected) <= tolerance * (1 + abs(expected))


def check_shift_law(estimate, points, offset, dimension):
    """H(X + c) = H(X)."""
    expected = estimate(points, dimension)
    assert abs(estimate(points + offset, dimension) - expected) <= 1e-6 * (1 + abs(expected))


def check_order(estimate, points, order, dimension):
    expected = estimate(points, dimension)
    assert abs(estimate(points[order], dimension) - expected) <= 1e-12 * (1 + abs(expected))


def check_agrees(estimate, points, dimension, options):
    expected = by_brute_force(points, dimension, options)
    assert abs(float(estimate(points, dimension)) - expected) <= 1e-9 * (1 + abs(expected))


@every_variant
@settings(max_examples=40)
@given(points=samples(), power=st.integers(-300, 300), thirds=st.integers(3, 6), dimension=strategies.sizes(1, 6))
def test_scale_law(options, points, power, thirds, dimension):
    check_scale_law(KozachenkoLeonenko(options), points, thirds / 3 * 2.0**power, dimension)


@every_variant
@settings(max_examples=40)
@given(points=samples(), size=st.integers(0, 100), seed=strategies.seeds(), dimension=strategies.sizes(1, 6))
def test_shift_law(options, points, size, seed, dimension):
    check_shift_law(KozachenkoLeonenko(options), points, size * normal(1, points.shape[1], seed), dimension)


@every_variant
@settings(max_examples=40)
@given(points=samples(), data=st.data(), dimension=strategies.sizes(1, 6))
def test_order_of_samples_does_not_matter(options, points, data, dimension):
    order = data.draw(st.permutations(range(len(points))))
    check_order(KozachenkoLeonenko(options), points, torch.tensor(order), dimension)


@every_variant
@settings(max_examples=40)
@given(points=samples(), dimension=strategies.sizes(1, 6))
def test_neighbours_are_those_of_brute_force(options, points, dimension):
    check_agrees(KozachenkoLeonenko(options), points, dimension, options)


@every_variant
@pytest.mark.parametrize("power", [-100, -70, -30, 30, 70, 120])
def test_single_precision_keeps_the_scale_law_at_any_size(options, power):
    check_scale_law(KozachenkoLeonenko(options), normal(20, 4, dtype=torch.float32), 2.0**power, 3, tolerance=1e-5)


@every_variant
def test_the_estimate_agrees_with_brute_force_for_2000_entries(options):
    points = normal(12, 2000, seed=1)
    check_agrees(KozachenkoLeonenko(options), points, 16, options)
    single = KozachenkoLeonenko(options)(points.float(), 16)
    assert abs(float(single) - by_brute_force(points, 16, options)) < 1e-3


@every_variant
@given(apart=st.sampled_from([0.0, 1.0, 1e2, 1e4]), offset=st.sampled_from([0.0, 1e3]), seed=strategies.seeds())
@settings(max_examples=12, deadline=None)
def test_single_precision_finds_neighbours_within_clusters_that_lie_far_apart(options, apart, offset, seed):
    points = normal(16, 40, seed, dtype=torch.float32)
    points[::2] += apart
    points += offset
    expected = by_brute_force(points.double(), 5, options)
    assert float(KozachenkoLeonenko(options)(points, 5)) == pytest.approx(expected, rel=1e-5)


def test_a_dimension_in_the_options_takes_precedence():
    points = normal(10, 3)
    given_three = KozachenkoLeonenko(Options(dimension=3))(points, 7)
    assert torch.equal(given_three, KozachenkoLeonenko(Options())(points, 3))
    assert not torch.equal(given_three, KozachenkoLeonenko(Options())(points, 7))


@pytest.mark.parametrize(
    ("distance", "dimension", "volume"),
    [
        ("l2", 1, 2),
        ("l2", 2, math.pi),
        ("l2", 3, 4 * math.pi / 3),
        ("l1", 1, 2),
        ("l1", 2, 2),
        ("l1", 3, 4 / 3),
    ],
)
@pytest.mark.parametrize("neighbour", [1, 4])
def test_constants_are_the_balls_volume_and_the_neighbours_digamma(distance, dimension, volume, neighbour):
    points = normal(10, 3)
    plain, constants = (
        float(KozachenkoLeonenko(Options(distance=distance, neighbour=neighbour, constants=on))(points, dimension))
        for on in (False, True)
    )
    assert constants - plain == pytest.approx(math.log(volume) - digamma(neighbour), abs=1e-12)


# Known entropies. With 3,000 samples the estimator's standard deviation is about 0.03, and its bias, from the
# uniform distribution's edges in three dimensions, up to 0.1.
KNOWN = list(itertools.product(NORMS, (1, 3), (1, 2, 3)))
known = pytest.mark.parametrize(("distance", "neighbour", "dimension"), KNOWN)


@known
@pytest.mark.parametrize("side", [1.0, 5.0])
def test_uniform_on_a_cube(distance, neighbour, dimension, side):
    rng = torch.Generator().manual_seed(0)
    points = side * torch.rand(3000, dimension, generator=rng, dtype=torch.float64)
    estimate = KozachenkoLeonenko(Options(distance=distance, neighbour=neighbour, constants=True))
    check_known(estimate, points, dimension, dimension * math.log(side), error=0.15)


@known
def test_gaussian(distance, neighbour, dimension):
    points = 2 * normal(3000, dimension)
    estimate = KozachenkoLeonenko(Options(distance=distance, neighbour=neighbour, constants=True))
    expected = dimension * (math.log(2) + 0.5 * math.log(2 * math.pi * math.e))
    check_known(estimate, points, dimension, expected, error=0.12)


def test_correlated_gaussian():
    mixing = torch.tensor([[1.0, 0.0], [3.0, 0.5]], dtype=torch.float64)
    estimate = KozachenkoLeonenko(Options(constants=True))
    expected = math.log(2 * math.pi * math.e) + math.log(0.5)
    check_known(estimate, normal(3000, 2) @ mixing.T, 2, expected, error=0.12)


def test_samples_on_a_line_in_many_dimensions():
    """The dimension is the manifold's, not the number of entries."""
    direction = torch.full((1, 50), 50**-0.5, dtype=torch.float64)
    points = torch.rand(3000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ direction
    check_known(KozachenkoLeonenko(Options(constants=True)), points, 1, 0.0, error=0.12)


@known
def test_without_constants_entropies_are_not_the_known_ones(distance, neighbour, dimension):
    estimate = KozachenkoLeonenko(Options(distance=distance, neighbour=neighbour))
    expected = dimension * 0.5 * math.log(2 * math.pi * math.e)
    with pytest.raises(AssertionError):
        check_known(estimate, normal(3000, dimension), dimension, expected, error=0.12)


# Gradients.


@every_variant
@pytest.mark.parametrize("seed", range(3))
def test_gradient_agrees_with_finite_differences(options, seed):
    """At generic points the neighbours stay the same under small changes."""
    estimate = KozachenkoLeonenko(options)
    points = normal(8, 3, seed).requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: estimate(leaf, 2), [points], eps=1e-7)
    assert points.grad is None
    assert check_finite(estimate, points.detach(), 2).any(1).all()


def test_gradient_drives_neighbours_apart():
    points = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    gradient = check_finite(KozachenkoLeonenko(Options()), points, 3)
    # Each of the two samples has the other as its neighbour: d / N · 2 / distance.
    assert gradient.tolist() == [[-3.0], [3.0]]


# Samples that coincide.


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("case", COINCIDENT)
def test_coincident_samples_are_finite(options, dtype, case):
    check_finite(KozachenkoLeonenko(options), COINCIDENT[case](dtype), 4)


@pytest.mark.parametrize("distance", NORMS)
@pytest.mark.parametrize("case", ["all zero", "all equal", "in pairs", "up to rounding"])
def test_coincident_samples_have_no_gradient(distance, case):
    estimate = KozachenkoLeonenko(Options(distance=distance))
    assert not check_finite(estimate, COINCIDENT[case](torch.float64), 4).any()


@pytest.mark.parametrize("distance", NORMS)
def test_other_samples_keep_their_gradient(distance):
    gradient = check_finite(KozachenkoLeonenko(Options(distance=distance)), COINCIDENT["some"](torch.float64), 4)
    assert gradient[:4].any(1).all()


@pytest.mark.parametrize("distance", NORMS)
@pytest.mark.parametrize("case", ["all equal", "in pairs", "some"])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_floor_follows_the_scale_law(distance, case, factor):
    check_scale_law(KozachenkoLeonenko(Options(distance=distance)), COINCIDENT[case](torch.float64), factor, 4)


def test_coincident_samples_have_less_entropy_than_others():
    estimate = KozachenkoLeonenko(Options())
    apart, together = normal(6, 5), COINCIDENT["in pairs"](torch.float64)
    assert estimate(together, 4) < estimate(apart, 4) - 50


# Too few samples.


@pytest.mark.parametrize("neighbour", [1, 3])
def test_too_few_samples_are_refused(neighbour):
    estimate = KozachenkoLeonenko(Options(neighbour=neighbour))
    assert estimate.minimum_samples == neighbour + 1
    for count in range(neighbour + 1):
        with pytest.raises(ValueError, match=f"at least {neighbour + 1} samples, got {count}"):
            estimate(torch.zeros(count, 2), 2)
    check_finite(estimate, normal(neighbour + 1, 2), 2)


# Wrong estimators: the same checks must fail.


class Wrong(KozachenkoLeonenko):
    """The estimator with another logarithm, or with other distances."""

    def __init__(self, log=torch.log, neighbour=1, norm=2):
        super().__init__(Options())
        self.log, self.neighbour, self.norm = log, neighbour, norm

    def __call__(self, samples, dimension):
        distances = (samples[:, None] - samples).norm(self.norm, 2).sort(1).values[:, self.neighbour]
        return digamma(len(samples)) + dimension * self.log(distances).mean()


def test_an_estimator_by_hand_without_mistakes_passes():
    check_scale_law(Wrong(), normal(10, 3), 7.0, 4)
    check_agrees(Wrong(), normal(10, 3), 4, Options())


@pytest.mark.parametrize("seed", range(3))
def test_an_epsilon_inside_the_logarithm_is_caught(seed):
    with_epsilon = Wrong(lambda distances: (distances + 1e-3).log())
    for factor in (0.1, 10.0):
        with pytest.raises(AssertionError):
            check_scale_law(with_epsilon, normal(10, 3, seed), factor, 4)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [(Wrong(neighbour=2), Options()), (Wrong(norm=1), Options()), (Wrong(), Options(distance="l1"))],
    ids=["neighbour", "l1 for l2", "l2 for l1"],
)
def test_other_distances_are_caught(wrong, right):
    with pytest.raises(AssertionError):
        check_agrees(wrong, normal(10, 3), 4, right)


def test_a_logarithm_of_zero_is_caught():
    with pytest.raises(AssertionError):
        check_finite(Wrong(), COINCIDENT["in pairs"](torch.float64), 4)


def test_an_estimate_that_depends_on_the_samples_place_is_caught():
    class Seen(KozachenkoLeonenko):
        def __call__(self, samples, dimension):
            return super().__call__(samples, dimension) + 1e-3 * samples.mean()

    with pytest.raises(AssertionError):
        check_shift_law(Seen(Options()), normal(10, 3), 10.0, 4)


def test_an_estimate_that_depends_on_the_order_is_caught():
    class Seen(KozachenkoLeonenko):
        def __call__(self, samples, dimension):
            return super().__call__(samples[:-1], dimension)

    with pytest.raises(AssertionError):
        check_order(Seen(Options()), normal(10, 3), torch.arange(10).flip(0), 4)
