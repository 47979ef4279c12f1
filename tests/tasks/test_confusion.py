"""Confusion matrices: counts of pairs, and the overlap that follows from them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.tasks.confusion import confusion_matrix, mean_iou


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 9), st.integers(0, 999))
def test_every_pair_is_counted_where_it_belongs(classes, networks, examples, seed):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (examples,), generator=rng)
    answers = torch.randint(classes, (networks, examples), generator=rng)
    found = confusion_matrix(labels, answers, classes)
    assert found.shape == (networks, classes, classes)
    for counts, own in zip(found, answers, strict=True):
        assert torch.equal(counts, confusion_matrix(labels, own, classes))
        for label in range(classes):
            for answer in range(classes):
                assert counts[label, answer] == ((labels == label) & (own == answer)).sum()


def test_a_class_that_is_nowhere_does_not_count():
    assert float(mean_iou(torch.tensor([[2, 0, 0], [0, 2, 0], [0, 0, 0]]))) == 1
    assert float(mean_iou(torch.tensor([[2, 0, 0], [0, 2, 1], [0, 0, 0]]))) == pytest.approx((1 + 2 / 3 + 0) / 3)
