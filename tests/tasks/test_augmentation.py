"""Training images moved at random."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.tasks.augmentation import AffineOptions, CropOptions, moves_places, random_affine, random_crop


def moved(images, seed=0, **limits):
    return random_affine(images, AffineOptions(**limits), torch.Generator().manual_seed(seed))


def test_nothing_is_drawn_where_nothing_may_move():
    rng = torch.Generator().manual_seed(0)
    before = rng.get_state()
    images = torch.rand(2, 3, 1, 4, 4)
    assert random_affine(images, AffineOptions(), rng) is images
    assert torch.equal(rng.get_state(), before)


@given(seed=st.integers(0, 99), height=st.integers(3, 9), width=st.integers(3, 9))
def test_a_turn_keeps_the_centre_and_the_distance_from_it(seed, height, width):
    """A picture of the squared distance from the centre, in pixels, does not change when it turns."""
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    # Linear in x and y, hence exact under bilinear interpolation: what a turn gives is linear again.
    found = {}
    for name, picture in {"x": x.expand(height, width), "y": y[:, None].expand(height, width)}.items():
        found[name] = moved(picture[None, None], seed, rotation=20)[0, 0]
    inside = (found["x"].abs() < x.max() - 1) & (found["y"].abs() < y.max() - 1)
    near = (x.abs()[None] < x.max() / 2) & (y.abs()[:, None] < y.max() / 2) & inside
    before = x.square()[None] + y.square()[:, None]
    torch.testing.assert_close((found["x"].square() + found["y"].square())[near], before[near])


@pytest.mark.parametrize("limits", [{"translation": 2}, {"shear": 20}, {"zoom": 0.3}, {"rotation": 40}])
def test_each_image_moves_by_itself_and_within_the_limits(limits):
    x = (torch.arange(33, dtype=torch.float64) - 16).expand(33, 33)
    y = x.T
    many = torch.stack([x, y])[None].repeat(50, 1, 1, 1)
    found = moved(many, **limits)
    centre, right, below = found[:, :, 16, 16], found[:, :, 16, 20], found[:, :, 20, 16]
    columns = torch.stack([right - centre, below - centre], -1) / 4  # the linear part of each map
    turn = torch.atan2(columns[:, 1, 0], columns[:, 0, 0]).rad2deg().abs()
    lean = ((columns[:, :, 0] * columns[:, :, 1]).sum(1) / columns[:, :, 0].square().sum(1)).atan().rad2deg().abs()
    zoom = (columns[:, :, 0].norm(dim=1).reciprocal() - 1).abs()
    for name, value in {"translation": centre.abs().amax(1), "rotation": turn, "shear": lean, "zoom": zoom}.items():
        limit = limits.get(name, 0)
        assert value.max() <= limit + 1e-9
        assert value.max() >= 0.8 * limit  # of fifty, one comes close
        assert len(value.round(decimals=6).unique()) == (50 if limit else 1)


def test_what_comes_in_from_beyond_the_edge_is_zero():
    found = moved(torch.ones(20, 1, 8, 8), translation=2)
    assert float(found.min()) == 0
    assert float(found[:, :, 4, 4].min()) == 1


def cut_by_loop(image, top, left, border, mirrored):
    """One image cut out of itself with zeros around, the plain way."""
    height, width = image.shape[-2:]
    around = torch.zeros(len(image), height + 2 * border, width + 2 * border, dtype=image.dtype)
    around[:, border : border + height, border : border + width] = image
    part = around[:, top : top + height, left : left + width]
    return part.flip(-1) if mirrored else part


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    border=st.integers(0, 3),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
def test_each_image_is_one_of_its_own_cuts(height, width, border, flip, seed):
    images = torch.randn(2, 3, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    options = CropOptions(crop=border, flip=flip)
    moved = random_crop(images, options, torch.Generator().manual_seed(seed))
    assert moved.shape == images.shape
    places = range(2 * border + 1)
    for image, found in zip(images.flatten(0, 1), moved.flatten(0, 1), strict=True):
        cuts = [
            cut_by_loop(image, top, left, border, mirrored)
            for top in places
            for left in places
            for mirrored in {False, flip}
        ]
        assert any(torch.equal(cut, found) for cut in cuts)


def test_all_places_are_equally_likely_and_half_of_the_images_mirrored():
    image = torch.arange(1.0, 10).view(1, 3, 3)
    moved = random_crop(image.expand(20_000, 1, 3, 3), CropOptions(crop=1, flip=True), torch.Generator().manual_seed(0))
    for mirrored in (False, True):
        for top in range(3):
            for left in range(3):
                cut = cut_by_loop(image, top, left, 1, mirrored)
                assert float((moved == cut).flatten(1).all(1).float().mean()) == pytest.approx(1 / 18, abs=0.01)


def test_without_options_images_come_back_themselves_and_nothing_is_drawn():
    rng, images = torch.Generator().manual_seed(0), torch.ones(2, 1, 2, 2)
    before = rng.get_state()
    assert random_crop(images, CropOptions(), rng) is images
    assert torch.equal(rng.get_state(), before)


MOVES = {
    "flips": lambda x, rng: random_crop(x, CropOptions(flip=True), rng),
    "crops": lambda x, rng: random_crop(x, CropOptions(crop=2), rng),
    "turns": lambda x, rng: random_affine(x, AffineOptions(rotation=90), rng),
    "shifts": lambda x, rng: random_affine(x, AffineOptions(translation=3), rng),
    "rolls": lambda x, rng: x.roll(1, -1),
}
STAYS = {
    "nothing": lambda x, rng: x,
    "noise": lambda x, rng: x + torch.randn(x.shape, generator=rng, dtype=x.dtype),
    "contrast": lambda x, rng: (x - x.mean()) * torch.rand(len(x), 1, 1, 1, generator=rng, dtype=x.dtype) + x.mean(),
    "the greatest is 1": lambda x, rng: x / x.abs().amax((-1, -2, -3), keepdim=True),
    "places left out": lambda x, rng: x * (torch.rand(x.shape, generator=rng) < 0.7),
    "channels change places": lambda x, rng: x.flip(1),
    "blur": lambda x, rng: torch.nn.functional.avg_pool2d(x, 3, 1, 1),
}


@given(
    name=st.sampled_from([*MOVES, *STAYS]), seed=st.integers(0, 99), height=st.integers(4, 8), width=st.integers(4, 8)
)
def test_whether_places_are_moved_is_found_out(name, seed, height, width):
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, height, width, generator=rng, dtype=torch.float64)
    kept = images.clone()
    assert moves_places((MOVES | STAYS)[name], images, (height, width), seed) == (name in MOVES)
    assert torch.equal(images, kept)


def test_inputs_without_the_places_of_the_labels_are_not_looked_at():
    images = torch.randn(2, 3, 6, 6)
    assert moves_places(MOVES["rolls"], images, (3, 3))  # a label for each 2 × 2 pixels
    assert not moves_places(MOVES["rolls"], images, (4, 4))
    assert not moves_places(MOVES["rolls"], images, (2, 3, 6, 6))
