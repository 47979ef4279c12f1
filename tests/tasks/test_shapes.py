"""The task `shapes`: what its labels mark is what its images show."""

import pytest
import torch

from hyperframe.builtin.tasks.shapes import Options, Shapes, draw_masks


def test_shapes_are_brighter_than_the_background_and_where_the_labels_say():
    data = Shapes(Options(train=50, noise=0.0)).data("train")
    assert data.x.shape == (50, 1, 32, 32)
    shown = data.y > 0
    assert float(data.x[:, 0][shown].min()) >= 0.6 > 0.4 >= float(data.x[:, 0][~shown].max())
    assert data.y.unique().tolist() == [0, 1, 2, 3]
    assert 0.1 < float(shown.float().mean()) < 0.4


def test_splits_differ_and_follow_the_seed():
    one, other = Shapes(Options(train=20, test=20)), Shapes(Options(train=20, test=20, seed=1))
    assert torch.equal(one.data("train").x, one.data("train").x)
    for different in (one.data("test"), other.data("train"), other.data("test")):
        assert not torch.equal(one.data("train").x, different.x)
    assert abs(float(one.data("train").x.std() - Shapes(Options(train=20, noise=0.5)).data("train").x.std())) > 0.1
    with pytest.raises(ValueError, match="unknown split 'tests'"):
        one.data("tests")


@pytest.mark.parametrize(("kind", "low", "high"), [(1, 0.70, 0.85), (2, 0.75, 1.01), (3, 0.40, 0.65)])
def test_shapes_fill_their_boxes_as_such_shapes_do(kind, low, high):
    """A circle fills π / 4 of its box, a square that is turned by up to 0.3 more than 0.6, a triangle about half."""
    masks = draw_masks(torch.full((200,), kind), torch.Generator().manual_seed(0))
    rows, columns = masks.any(2).sum(1), masks.any(1).sum(1)
    fill = masks.sum((1, 2)) / (rows * columns)
    assert low < float(fill.mean()) < high
