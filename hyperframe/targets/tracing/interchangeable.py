"""Units that may change places: those that stand everywhere in the same way.

Two labels may be exchanged where every activation and every axis of a parameter holds them alike: as many entries, in
the same order of their parts, at the same places within the unit, beside equal numbers. Each array of the trail adds to
a label's profile; labels with equal profiles form a class.
"""

import torch
from torch import Tensor

from hyperframe.targets.tracing.labels import FIXED, Partition, varies

_MIX = (-7046029254386353131, -4658895280553007687, -7723592293110705685)  # odd constants of 64 bits


def exchange_classes(units: Partition, trail: list[tuple[Tensor, Tensor]]) -> tuple[tuple[int, ...], ...]:
    """Return sets of labels that may be exchanged among each other, each of two labels or more.

    Args:
        units: the labels.
        trail: units and codes, tensors of equal shape, of all that was traced.
    """
    lookup = units.lookup()
    if len(lookup) == 1:
        return ()
    ranks = _ranks(lookup)
    profiles = torch.zeros(len(lookup), dtype=torch.int64)
    for number, (unit, code) in enumerate(trail):
        labels, codes = _reduce(unit, code)
        inside = labels != FIXED
        labels, codes = labels[inside], codes[inside]
        roots = lookup[labels]
        codes, ranked, roots = codes[roots != FIXED], ranks[labels][roots != FIXED], roots[roots != FIXED]
        if not len(roots):
            continue
        order = torch.argsort(roots, stable=True)
        roots, codes, ranked = roots[order], codes[order], ranked[order]
        starts = torch.searchsorted(roots, roots)
        place = torch.arange(len(roots)) - starts
        entry = _mix(_mix(_mix(place, ranked), codes), torch.tensor(number))
        profiles.index_add_(0, roots, entry)
    members: dict[int, list[int]] = {}
    for label in torch.unique(lookup[lookup != FIXED]).tolist():
        members.setdefault(int(profiles[label]), []).append(label)
    return tuple(tuple(labels) for labels in members.values() if len(labels) > 1)


def _ranks(lookup: Tensor) -> Tensor:
    """Number each label among those that it is united with; one entry more for `FIXED`."""
    order = torch.argsort(lookup, stable=True)
    ranks = torch.empty_like(lookup)
    ranks[order] = torch.arange(len(lookup)) - torch.searchsorted(lookup[order], lookup[order])
    return ranks


def _reduce(unit: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten both to vectors, less the axes along which units are the same, where codes do not tell units apart."""
    constant = [dim for dim in range(unit.dim()) if not varies(unit, dim)]
    if not any(varies(code, dim) for dim in range(unit.dim()) if dim not in constant):
        for dim in constant:
            unit, code = unit.narrow(dim, 0, 1), code.narrow(dim, 0, 1)
        return unit.reshape(-1), torch.zeros(unit.numel(), dtype=torch.int64)
    both = [dim for dim in constant if not varies(code, dim)]
    for dim in both:
        unit, code = unit.narrow(dim, 0, 1), code.narrow(dim, 0, 1)
    return unit.reshape(-1), code.reshape(-1)


def _mix(one: Tensor, other: Tensor) -> Tensor:
    """Hash two whole numbers of 64 bits, which wrap around."""
    mixed = (one * _MIX[0] + other) * _MIX[1]
    mixed = mixed ^ (mixed >> 29)
    mixed = mixed * _MIX[2]
    return mixed ^ (mixed >> 32)
