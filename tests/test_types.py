"""Data: inputs kept as they are, or as bytes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from hyperframe.types import Data

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
