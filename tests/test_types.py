"""Data: inputs kept as they are, or as bytes; named tensors in one vector; what every task says of its outputs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.tasks.classification import ClassificationTask
from hyperframe.tasks.regression import RegressionTask
from hyperframe.tasks.structured import DenseClassificationTask, Head, HeadsTask, MultiLabelTask
from hyperframe.types import Data, Layout

BYTES = st.lists(st.integers(0, 255), min_size=4, max_size=4)


@given(values=st.lists(BYTES, min_size=1, max_size=5), double=st.booleans())
def test_bytes_are_what_the_same_floats_are(values, double):
    kept = torch.tensor(values, dtype=torch.uint8)
    floats, labels = kept.float() / 255, torch.arange(len(values))
    data, plain = Data(kept, labels), Data(floats, labels)
    dtype = torch.float64 if double else None
    for rows in (slice(None), slice(1, None), torch.tensor([0, 0])):
        assert torch.equal(data[rows].x, plain[rows].x)
        assert torch.equal(data[rows].y, plain[rows].y)
        assert torch.equal(data[rows].to("cpu", dtype).x, plain[rows].to("cpu", dtype).x)


def test_bytes_stay_bytes_until_they_are_looked_at():
    data = Data(torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3))
    assert data[1:].to("cpu").kept.dtype == torch.uint8
    assert data.to("cpu", torch.float32).kept.dtype == torch.float32
    assert len(data) == 3
    floats = Data(torch.zeros(3, 2), torch.zeros(3))
    assert floats.x is floats.kept


@given(st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=4), st.integers(0, 99))
def test_a_vector_holds_what_was_laid_out(shapes, seed):
    rng = torch.Generator().manual_seed(seed)
    layout = Layout({str(number): shape for number, shape in enumerate(shapes)})
    given = {name: torch.randn(2, 5, *shape, generator=rng) for name, shape in layout.shapes.items()}
    packed = layout.pack(given)
    assert packed.shape == (2, 5, layout.size)
    found = layout.split(packed)
    assert list(found) == list(given)
    assert all(torch.equal(found[name], given[name]) for name in given)


def with_outputs(kind, outputs, places=()):
    task = type("Own", (kind,), {"data": lambda self, split: None})()
    task.num_outputs, task.output_places = outputs, places
    return task


def two_heads():
    places = Head(task=with_outputs(DenseClassificationTask, 3, (2, 5)), label_shape=(2, 5))
    size = Head(task=with_outputs(RegressionTask, 2), label_shape=(2,), label_dtype=torch.float64)
    return HeadsTask({"places": places, "size": size})


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        (with_outputs(ClassificationTask, 4), (4,)),
        (with_outputs(RegressionTask, 4), (4,)),
        (with_outputs(MultiLabelTask, 4), (4,)),
        (with_outputs(DenseClassificationTask, 3, (2, 5)), (3, 2, 5)),
        (two_heads(), (3 * 2 * 5 + 2,)),
    ],
)
def test_outputs_and_blank_labels_are_such_as_the_loss_takes(task, shape):
    assert task.output_shape == shape
    labels = task.blank_labels(6)
    task.check_labels(labels, "here")
    assert task.loss(torch.zeros(6, *shape), labels).shape == (6,)
    named = task.named(torch.zeros(2, 6, *shape))
    if task.layout is None:
        assert named.shape == (2, 6, *shape)
    else:
        assert {name: tuple(part.shape) for name, part in named.items()} == {
            "places": (2, 6, 3, 2, 5),
            "size": (2, 6, 2),
        }
