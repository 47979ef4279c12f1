"""The law of labels that move with their inputs: what it finds, and what it must not take for it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from wrong import Steps

import hyperframe as hf
from hyperframe.tasks.structured import Head, HeadsTask
from hyperframe.testing.laws import Broken, Draw
from hyperframe.testing.moved_labels import LabelsOfPlaces, labels_astray
from hyperframe.testing.of_tasks import LAWS, TaskCase

Data = hf.Data


def plain(sizes):
    return LabelsOfPlaces(sizes=sizes, of=lambda y: y, put=lambda y, own: own)


def chosen(data, rng):
    """Half of the examples: [examples, 1, 1]."""
    return (torch.rand(len(data), generator=rng) < 0.5)[:, None, None]


def where(marks, one, other):
    return torch.where(marks[:, None], one.x, other.x), torch.where(marks, one.y, other.y)


def both(function):
    """Inputs and labels by one function of tensors with places as their last axes."""
    return lambda data, rng: Data(function(data.x), function(data.y))


def flips(data, rng):
    return Data(*where(chosen(data, rng), Data(data.x.flip(-1), data.y.flip(-1)), data))


def crops(data, rng, sign=1):
    """By up to three places along each axis, with nothing and −1 from beyond the edge."""
    down, right = torch.randint(-3, 4, (2,), generator=rng).tolist()
    return Data(shifted(data.x, down, right, 0), shifted(data.y, sign * down, sign * right, -1))


def shifted(x, down, right, fill):
    height, width = x.shape[-2:]
    padded = F.pad(x.double(), (3, 3, 3, 3), value=fill).to(x.dtype)
    return padded[..., 3 - down : 3 - down + height, 3 - right : 3 - right + width]


def affine(data, angle=0.0, scale=1.0, offset=(0.0, 0.0), labels=True):
    """A turn, another size and a shift: inputs between places, labels of the nearest."""
    turn = scale * torch.tensor([[torch.tensor(angle).cos(), -torch.tensor(angle).sin()], [0, 0]])
    turn[1] = torch.stack([-turn[0, 1], turn[0, 0]])
    theta = torch.cat([turn, torch.tensor(offset)[:, None]], 1).double().expand(len(data), 2, 3)
    y = data.y[:, None].double()
    x = F.grid_sample(data.x, F.affine_grid(theta, list(data.x.shape), align_corners=False), align_corners=False)
    grid = F.affine_grid(theta, list(y.shape), align_corners=False)
    named = F.grid_sample(y + 1, grid, mode="nearest", align_corners=False)[:, 0].long() - 1
    return Data(x, named if labels else data.y)


def any_affine(data, rng, labels=True):
    angle, size, right, down = torch.rand(4, generator=rng).tolist()
    return affine(data, 6.3 * angle, 0.4 + 1.6 * size, (right - 0.5, down - 0.5), labels)


def stretched(data, rng):
    """Along the last axis, by numbers between places and by the place before: of labels other than a rounding."""
    width = data.x.shape[-1]
    start = (width / 2) * torch.rand(1, generator=rng, dtype=torch.float64)
    at = (start + torch.arange(width) * torch.rand(1, generator=rng, dtype=torch.float64)).clamp(max=width - 1)
    low, high = at.floor().long(), at.ceil().long()
    x = data.x[..., low] * (1 - (at - low)) + data.x[..., high] * (at - low)
    return Data(x, data.y[..., low])


def mixed_in(data, rng):
    """A rectangle of another example, with its labels."""
    order = torch.randperm(len(data), generator=rng)
    marks = torch.zeros(data.y.shape[1:], dtype=torch.bool)
    marks[1:, : marks.shape[1] // 2] = True
    marks = marks.expand(len(data), -1, -1)
    return Data(*where(marks, data[order], data))


def mosaic(data, rng):
    """Each quarter is another example, of half the size."""
    quarters = [data[torch.randperm(len(data), generator=rng)] for _ in range(4)]
    x, y = (
        torch.cat([torch.cat([part[..., ::2, ::2] for part in row], -1) for row in (parts[:2], parts[2:])], -2)
        for parts in ([one.x for one in quarters], [one.y for one in quarters])
    )
    return Data(x[..., : data.x.shape[-2], : data.x.shape[-1]], y[..., : data.y.shape[-2], : data.y.shape[-1]])


def pasted(data, rng):
    """What has the label 1 is carried elsewhere, with its label, and stays as well."""
    there = (data.y == 1).roll(2, -1)
    return Data(*where(there, Data(data.x.roll(2, -1), data.y.roll(2, -1)), data))


def on_the_greatest(data, rng):
    """The greatest number comes to the first column, and all else with it."""
    at = data.x[:, 0].flatten(1).argmax(1) % data.x.shape[-1]
    places = (torch.arange(data.x.shape[-1]) + at[:, None]) % data.x.shape[-1]
    return Data(
        data.x.gather(3, places[:, None, None].expand(data.x.shape)),
        data.y.gather(2, places[:, None].expand(data.y.shape)),
    )


def noise(data, rng):
    return Data(data.x * (1 + torch.rand(1, generator=rng)) + torch.randn(data.x.shape, generator=rng), data.y)


def erased(data, rng):
    gone = chosen(data, rng) & (torch.rand(data.y.shape, generator=rng) < 0.5)
    return Data(data.x.masked_fill(gone[:, None], 0), data.y.masked_fill(gone, -1))


def blurred(data, rng):
    return Data(F.avg_pool2d(data.x, 3, 1, 1), data.y)


def computed(data, rng):
    """Inputs are moved, and labels are made of them."""
    x = data.x.flip(-2)
    return Data(x, (x[:, 0] > 0).long())


RIGHT = {
    "nothing": lambda data, rng: data,
    "flips": flips,
    "crops": crops,
    "any affine map": any_affine,
    "stretched": stretched,
    "turned by a quarter": both(lambda x: x.transpose(-1, -2).flip(-1) if x.shape[-1] == x.shape[-2] else x),
    "rolled": both(lambda x: x.roll(3, -1)),
    "rectangles of others": mixed_in,
    "four in one": mosaic,
    "pasted": pasted,
    "on the greatest": on_the_greatest,
    "noise": noise,
    "erased": erased,
    "blurred": blurred,
    "labels are computed": computed,
    "examples change places": lambda data, rng: data[torch.randperm(len(data), generator=rng)],
    "standardised": lambda data, rng: Data(data.x / data.x.std((1, 2, 3), keepdim=True), data.y),
    "moved to the next place alone": lambda data, rng: Data(shifted(data.x, 1, 1, 0), data.y),
}
WRONG = {
    "flips inputs alone": lambda data, rng: Data(flips(data, rng).x, data.y),
    "flips labels alone": lambda data, rng: Data(data.x, flips(data, rng).y),
    "crops inputs alone": lambda data, rng: Data(crops(data, rng).x, data.y),
    "crops labels the other way": lambda data, rng: crops(data, rng, sign=-1),
    "any affine map of inputs": lambda data, rng: any_affine(data, rng, labels=False),
    "flips along another axis": lambda data, rng: Data(data.x.flip(-1), data.y.flip(-2)),
    "rolls inputs alone": lambda data, rng: Data(data.x.roll(3, -1), data.y),
    "flips, and makes brighter, inputs": lambda data, rng: Data(2 * flips(data, rng).x + 1, data.y),
}


@pytest.mark.slow
@given(
    name=st.sampled_from([*RIGHT, *WRONG]),
    seed=st.integers(0, 9999),
    height=st.integers(7, 9),
    width=st.integers(7, 9),
    form=st.sampled_from(["drawn", "sparse", "of blocks"]),
)
def test_labels_are_found_astray_where_they_are(name, seed, height, width, form):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 2, height, width, generator=rng, dtype=torch.float64)
    y = torch.randint(-1, 3, (40, height, width), generator=rng)
    if form == "sparse":  # one bright place on nothing, and labels that are hardly any
        x = x * (torch.rand(x.shape, generator=rng) < 0.05)
        y = y * (torch.rand(y.shape, generator=rng) < 0.05)
    if form == "of blocks":
        y = y[:, ::4, ::4].repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :height, :width]
    kept = x.clone(), y.clone()
    tried = 3 if name in WRONG else 1  # a crop for all examples may carry all places that are tried out of sight
    found = [labels_astray((RIGHT | WRONG)[name], Data(x, y), plain((height, width)), seed + n) for n in range(tried)]
    assert any(astray for astray, _ in found) == (name in WRONG), found
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


def test_labels_of_larger_places_may_stay_within_these():
    """A label for each 2 × 2 pixels: what moves by one of these pixels is not told, by four it is."""
    rng = torch.Generator().manual_seed(0)
    data = Data(torch.randn(40, 1, 8, 8, generator=rng), torch.randint(3, (40, 4, 4), generator=rng))
    assert labels_astray(lambda data, rng: Data(data.x.roll(4, -1), data.y.roll(2, -1)), data, plain((4, 4)))[0] == 0
    assert labels_astray(lambda data, rng: Data(data.x.roll(4, -1), data.y), data, plain((4, 4)))[0] > 0
    by_one = lambda data, rng: Data(shifted(data.x, 0, 1, 0), data.y)  # noqa: E731
    assert labels_astray(by_one, data, plain((4, 4)))[0] == 0
    for sizes in ((3, 3), (2, 4, 4)):  # no such places
        assert labels_astray(by_one, data, plain(sizes)) == (0, 0)


class Flipped(Steps):
    """Sequences whose inputs alone are turned round where that is said."""

    def __init__(self, labels_too):
        self.labels_too = labels_too

    def augment_data(self, data, rng):
        there = torch.rand(len(data), generator=rng) < 0.5
        y = torch.where(there[:, None], data.y.flip(-1), data.y)
        return Data(torch.where(there[:, None, None], data.x.flip(-1), data.x), y if self.labels_too else data.y)


class OfHeads(HeadsTask):
    """The same as a head beside another one of places and one of none."""

    name, input_shape = "of_heads", (1, 4)

    def __init__(self, labels_too):
        self.labels_too = labels_too
        heads = {"all": Head(task=Single()), "one": Head(task=Steps(), label_shape=(4,))}
        super().__init__({**heads, "other": Head(task=Steps(), label_shape=(4,))})

    def data(self, split):
        data = Steps().data(split)
        rng = torch.Generator().manual_seed(len(split))
        labels = {"all": torch.randint(3, (len(data),), generator=rng), "one": data.y, "other": data.y.roll(1, 0)}
        return Data(data.x, self.pack_labels(labels))

    def augment_data(self, data, rng):
        turned = Flipped(True).augment_data(Data(data.x, self.labels_of(data.y)["one"]), rng)
        labels = {**self.labels_of(data.y), "one": turned.y}
        if self.labels_too:
            there = (turned.x != data.x).flatten(1).any(1)
            labels["other"] = torch.where(there[:, None], labels["other"].flip(-1), labels["other"])
        return Data(turned.x, self.pack_labels(labels))


class Single(hf.ClassificationTask):
    """A class for each example."""

    name, input_shape, num_outputs = "single", (1, 4), 3

    def data(self, split):
        raise NotImplementedError


@pytest.mark.parametrize(("task", "head"), [(Flipped, ""), (OfHeads, ", head 'other'")])
def test_the_law_of_tasks_finds_labels_that_are_forgotten(task, head):
    (law,) = [law for law in LAWS if law.name == "labels_move_with_inputs"]
    assert "labels come to where inputs come, in " in law.holds(TaskCase(task(True)), Draw())
    with pytest.raises(Broken) as caught:
        law.holds(TaskCase(task(False)), Draw())
    assert f"augment_data carries inputs to other places than their labels{head}, in " in caught.value.what
