"""Whether labels of places come to where their inputs come, when a task's `augment_data` moves examples."""

import math
from collections.abc import Callable, Sequence

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.runtime.rng import stream
from hyperframe.tasks.augmentation import NOTHING, draw_tried
from hyperframe.tasks.structured.heads import HeadsTask
from hyperframe.types import Data, Task

TRIALS = 16
"""So many places are tried."""

Vary = Callable[[Data, torch.Generator], Data]


@attrs.frozen(kw_only=True)
class LabelsOfPlaces:
    """How the labels of places are got of a task's labels, and put back.

    Attributes:
        sizes: of the axes of places.
        of: gives them, [examples, ..., *sizes], of the task's.
        put: gives the task's labels [examples, ...] with these in them.
    """

    sizes: tuple[int, ...]
    of: Callable[[Tensor], Tensor]
    put: Callable[[Tensor, Tensor], Tensor]


def labels_of_places(task: Task) -> dict[str, LabelsOfPlaces]:
    """The labels of places that a task has, of each head that has any; messages name the head."""
    if not isinstance(task, HeadsTask):
        return {"": LabelsOfPlaces(sizes=task.label_places, of=lambda y: y, put=lambda y, own: own)}

    def of_head(name: str) -> LabelsOfPlaces:
        def put(labels: Tensor, own: Tensor) -> Tensor:
            return task.pack_labels({**task.labels_of(labels), name: own})

        places = task.heads[name].task.label_places
        return LabelsOfPlaces(sizes=places, of=lambda labels: task.labels_of(labels)[name], put=put)

    return {f", head '{name}'": of_head(name) for name, head in task.heads.items() if head.task.label_places}


def labels_astray(vary: Vary, data: Data, labels: LabelsOfPlaces, seed: int = 0) -> tuple[int, int]:
    """Count examples of which the content of a place has come elsewhere than the place's label.

    Examples are varied three times by the same random numbers: as they are, with another content at one place, and with
    another label there. Where the inputs then differ, the content has come to, and where the labels differ, the label.
    That these have no place in common, nor any beside each other, is counted, where it can be told:

    - The other content changes no labels and the other label no inputs: neither decides how the other is varied.
    - Content and label have both come somewhere, and the content to half of the places or fewer.

    Content that is carried to the next place alone is so not told from a rounding, which interpolation does to inputs
    and not to labels.

    Args:
        vary: as `Task.augment_data`.
        data: examples, with places as the last axes of their inputs and labels; where the labels' places do not divide
            the inputs', nothing is told.
        labels: which labels are looked at.
        seed: of the examples and places that are tried, and of the augmentation.

    Returns:
        How many have, and of how many it could be told.

    Example:
        >>> data = Data(torch.rand(9, 1, 5, generator=torch.Generator().manual_seed(0)), torch.arange(45).view(9, 5))
        >>> plain = LabelsOfPlaces(sizes=(5,), of=lambda y: y, put=lambda y, own: own)
        >>> both = lambda data, rng: Data(data.x.flip(-1), data.y.flip(-1))
        >>> forgotten = lambda data, rng: Data(data.x.flip(-1), data.y)
        >>> labels_astray(both, data, plain)[0], labels_astray(forgotten, data, plain)[0] > 0
        (0, True)
    """
    sizes, axes = labels.sizes, len(labels.sizes)
    places, own = tuple(data[:1].x.shape[1:])[-axes:], labels.of(data[:1].y)
    if len(places) < axes or any(size % count for size, count in zip(places, sizes, strict=True)):
        return 0, 0
    if tuple(own.shape[-axes:]) != sizes:
        return 0, 0
    rng, count = stream(seed, "places that are tried"), math.prod(sizes)
    data = data[draw_tried(data.x, rng)]
    astray = told = 0
    for trial, place in enumerate(torch.randperm(count, generator=rng)[:TRIALS].tolist()):
        x, y, own = data.x, data.y, labels.of(data.y)
        other, named_otherwise = _other_content(x, sizes, place), _other_label(own, axes, place)
        differ = ~_alike(other, x) & ~_alike(named_otherwise, own)  # others could tell nothing, also not where mixed in
        x, y, other, named_otherwise = x[differ], y[differ], other[differ], named_otherwise[differ]
        if not len(x):
            continue

        def varied(inputs: Tensor, given: Tensor, trial: int = trial) -> Data:
            return vary(Data(inputs.clone(), given.clone()), stream(seed + trial, "augmentation"))

        plain, moved, labelled = varied(x, y), varied(other, y), varied(x, labels.put(y, named_otherwise))
        content = _blocks(moved.x - plain.x, sizes).abs().sum((1, 3))  # [examples, places]
        label = (labels.of(labelled.y).double() - labels.of(plain.y).double()).abs()
        label = label.flatten(-axes).reshape(len(x), -1, count).sum(1)
        alone = _alike(moved.y, plain.y) & _alike(labelled.x, plain.x) & content.isfinite().all(1)
        few = (content > NOTHING * content.amax(1, keepdim=True)).sum(1) <= count / 2
        clear = alone & few & content.any(1) & label.any(1)
        together = (_widened(content > 0, sizes) & (label > 0)).any(1)
        astray += int((clear & ~together).sum())
        told += int(clear.sum())
    return astray, told


def _blocks(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Inputs [examples, ..., *places] by the places of labels: [examples, channels, labels' places, places of each]."""
    axes, own = len(sizes), x.shape[-len(sizes) :]
    shape = [part for size, count in zip(own, sizes, strict=True) for part in (count, size // count)]
    split = x.reshape(len(x), -1, *shape)
    order = [0, 1, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2)]
    return split.permute(order).flatten(2, 1 + axes).flatten(3)


def _other_content(x: Tensor, sizes: Sequence[int], place: int) -> Tensor:
    """Inputs with the content of another of the labels' places at one of them."""
    axes = len(sizes)
    numbers = torch.arange(math.prod(x.shape[-axes:])).view(1, 1, *x.shape[-axes:])
    where = _blocks(numbers, sizes)[0, 0]  # [labels' places, places of each]
    values = x.reshape(len(x), -1, where.numel())
    changed, rows = values.clone(), torch.arange(len(x))
    blocks = values[..., where]  # [examples, channels, labels' places, places of each]
    unlike = (blocks - blocks[:, :, place : place + 1]).abs().sum((1, 3)).argmax(1)
    changed[..., where[place]] = blocks[rows, :, unlike]
    return changed.view_as(x)


def _other_label(own: Tensor, axes: int, place: int) -> Tensor:
    """Labels [examples, ..., *places] with that of another place of the same example at one of them."""
    flat = own.flatten(-axes)
    values = flat.reshape(len(own), -1, flat.shape[-1]).double()
    unlike = (values - values[..., place : place + 1]).abs().sum(1).argmax(1)
    changed = flat.clone()
    changed[..., place] = flat[torch.arange(len(own)), ..., unlike]
    return changed.view_as(own)


def _alike(one: Tensor, other: Tensor) -> Tensor:
    """Which examples are the same: [examples]."""
    return (one == other).flatten(1).all(1)


def _widened(marks: Tensor, sizes: Sequence[int]) -> Tensor:
    """Marks [examples, places], and those of the places beside them."""
    wide = marks.view(len(marks), 1, *sizes).double()
    for axis in range(2, wide.dim()):
        rows = wide.movedim(axis, -1)
        wide = F.max_pool1d(rows.reshape(len(marks), -1, rows.shape[-1]), 3, 1, 1).view(rows.shape).movedim(-1, axis)
    return wide.reshape(marks.shape) > 0
