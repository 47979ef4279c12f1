"""Inputs that diversity terms compare networks on: what each kind keeps of the examples that it is made of."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.errors import ConfigError
from hyperframe.tasks.term_inputs import MadeKind, draw_noise, make_inputs, mix, move, shuffle

KINDS = get_args(MadeKind)
SHAPES = st.sampled_from([(5,), (2, 7), (1, 4, 4), (3, 5, 4)])
MANY = 20000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def examples(shape, count=6, seed=0):
    return torch.randn(count, *shape, generator=seeded(seed), dtype=torch.float64)


@given(kind=st.sampled_from(KINDS), count=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_same_random_numbers_give_the_same_inputs_and_others_give_others(kind, count, seed):
    x = examples((3, 5, 4), count)
    before = x.clone()
    found = make_inputs(kind, x, seeded(seed))
    assert torch.equal(found, make_inputs(kind, x, seeded(seed)))
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)
    drawn = kind != "examples" and (kind, count) != ("mixtures", 1)
    assert torch.equal(found, make_inputs(kind, x, seeded(seed + 1))) != drawn


def test_examples_are_the_shared_ones_themselves_and_nothing_is_drawn():
    x, rng = examples((1, 4, 4)), seeded()
    before = rng.get_state()
    assert make_inputs("examples", x, rng) is x
    assert torch.equal(rng.get_state(), before)


@given(shape=SHAPES.filter(lambda shape: len(shape) > 1), seed=st.integers(0, 99))
def test_shuffling_keeps_the_pixels_of_each_image(shape, seed):
    x = examples(shape, seed=seed)
    pixels, found = x.flatten(2).mT, shuffle(x, seeded(seed)).flatten(2).mT  # [images, pixels, channels]
    for before, after in zip(pixels, found, strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())


def test_each_image_is_shuffled_by_itself():
    places = torch.arange(64.0).view(1, 1, 8, 8).expand(5, 3, 8, 8)
    found = shuffle(places, seeded()).flatten(2)
    assert len({tuple(row) for row in found[:, 0].tolist()}) == 5
    assert torch.equal(found, found[:, :1].expand_as(found))  # the channels of a pixel stay together


@given(features=st.integers(1, 6), count=st.integers(1, 9), seed=st.integers(0, 99))
def test_features_are_exchanged_among_the_examples(features, count, seed):
    """Ages do not become incomes."""
    x = examples((features,), count)
    found = shuffle(x, seeded(seed))
    assert torch.equal(found.sort(0).values, x.sort(0).values)


def test_features_are_exchanged_each_by_itself():
    rows = torch.arange(9.0)[:, None].expand(9, 4)
    assert len({tuple(column) for column in shuffle(rows, seeded()).mT.tolist()}) == 4


@given(count=st.integers(2, 8), seed=st.integers(0, 99))
def test_mixtures_lie_between_two_different_examples(count, seed):
    """A mixture of rows of the unit matrix is its own weights."""
    weights = mix(torch.eye(count, dtype=torch.float64), seeded(seed))
    torch.testing.assert_close(weights.sum(1), torch.ones(count, dtype=torch.float64), rtol=1e-15, atol=0)
    assert float(weights.min()) >= 0
    assert bool((weights > 0).sum(1).eq(2).all())
    assert bool((weights.diagonal() > 0).all())


def test_weights_of_mixtures_are_uniform_and_partners_are_all_others():
    found = mix(torch.eye(4).repeat(MANY // 4, 1), seeded())
    of_pair = mix(torch.eye(2), seeded())
    assert not torch.equal(of_pair[0, :1], of_pair[1, 1:])  # each has a weight of its own
    own = found[torch.arange(MANY), torch.arange(MANY) % 4]
    own = own[own < 1]  # the others are mixed with an equal example
    assert abs(float(own.mean()) - 1 / 2) < 0.01
    assert abs(float(own.var()) - 1 / 12) < 0.005


@given(shape=SHAPES, seed=st.integers(0, 99), exponent=st.integers(-4, 4))
def test_noise_follows_scale_and_units(shape, seed, exponent):
    x = examples(shape, seed=seed)
    factor = 2.0**exponent
    assert torch.equal(draw_noise(factor * x, seeded(seed)), factor * draw_noise(x, seeded(seed)))


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2)])
def test_noise_has_the_moments_of_each_channel(shape):
    scale = torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64).view(3, *[1] * (len(shape) - 1))
    x = scale * (examples(shape, MANY) + 2)
    found = draw_noise(x, seeded(1))
    axes = (0, *range(2, x.dim()))
    torch.testing.assert_close(found.mean(axes), x.mean(axes), rtol=0.03, atol=0)
    torch.testing.assert_close(found.std(axes), x.std(axes), rtol=0.03, atol=0)
    assert abs(float(torch.corrcoef(found.flatten(1).mT)[0, 1])) < 0.03


def test_moved_images_differ_from_the_examples_and_from_each_other():
    x = torch.zeros(6, 2, 9, 9)
    x[:, :, 2:4, 1:8] = 1
    found = move(x, seeded())
    assert len({tuple(row.flatten().tolist()) for row in found}) == 6
    assert torch.equal(found[:, 0], found[:, 1])
    assert 0 <= float(found.min()) <= float(found.max()) <= 1 + 1e-6


def test_only_images_can_be_moved():
    with pytest.raises(ConfigError, match=r"made of images .* the task's inputs have the shape \[13\]; take examples"):
        move(torch.zeros(2, 13), seeded())
