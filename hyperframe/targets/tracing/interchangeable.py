"""Units that may change places: those that stand everywhere in the same way.

Two labels may be exchanged where every activation and every axis of a parameter holds them alike: as many entries, in
the same order of their parts, at the same places within the unit, beside equal numbers. Each array of the trail adds to
a label's profile; labels with equal profiles form a class.

Where units lie in others, as channels in heads, those of one head may change places, and heads as wholes: blocks of all
units that hang together, in the same way in each block.
"""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from hyperframe.targets.tracing.labels import FIXED, Partition, varies

_MIX = (-7046029254386353131, -4658895280553007687, -7723592293110705685)  # odd constants of 64 bits

ROUNDS = 4
"""How far units are told apart by what they hang together with; blocks are compared in full."""


@attrs.frozen
class Exchange:
    """Units that may change places.

    Attributes:
        classes: sets of labels that may be exchanged among each other, each of two labels or more.
        blocks: sets of blocks that may be exchanged as wholes, each of two or more. A block is some labels, each of
            which takes the place of the one that stands at its position in another block.
    """

    classes: tuple[tuple[int, ...], ...]
    blocks: tuple[tuple[tuple[int, ...], ...], ...] = ()


def exchangeable(
    units: Partition, trail: list[tuple[Tensor, Tensor]], inside: Sequence[tuple[Tensor, Tensor]] = ()
) -> Exchange:
    """Find units, and blocks of them, that may be exchanged.

    Args:
        units: the labels.
        trail: units and codes, tensors of equal shape, of all that was traced.
        inside: pairs of units that lie in others, see `Findings`.
    """
    lookup = units.lookup()
    if len(lookup) == 1:
        return Exchange(())
    edges = _edges(units, inside)
    fixed = {root for root, kept in zip(units.united().tolist(), lookup.tolist(), strict=True) if kept == FIXED}
    fixed |= _without_a_place(edges)
    colours = _refine(_profiles(lookup, trail), edges, fixed)
    neighbours = _neighbours(edges)
    movable = [label for label in torch.unique(lookup[lookup != FIXED]).tolist() if label not in fixed]
    members: dict[tuple[int, tuple[_Edge, ...]], list[int]] = {}
    for label in movable:
        members.setdefault((colours[label], neighbours.get(label, ())), []).append(label)
    classes = tuple(tuple(labels) for labels in members.values() if len(labels) > 1)
    return Exchange(classes, _blocks(movable, colours, neighbours))


def _profiles(lookup: Tensor, trail: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum up for each label where and how its entries stand in the arrays of the trail."""
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
    return profiles


_Edge = tuple[int, int, int]
"""Where a unit lies in another: the number of the pairs that say so, 0 for the inner one and 1 for the outer one, and
the label of the other one."""


def _edges(units: Partition, inside: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[int, int, int]]:
    """List which units lie in which: the number of the pairs, the inner and the outer one."""
    united = units.united()
    found = set[tuple[int, int, int]]()
    for number, (inner, outer) in enumerate(inside):
        found |= {(number, *pair) for pair in zip(united[inner].tolist(), united[outer].tolist(), strict=True)}
    return sorted(edge for edge in found if edge[1] != edge[2])


def _without_a_place(edges: list[tuple[int, int, int]]) -> set[int]:
    """Find units in which others lie that lie in several of them: one cannot take these along to another place."""
    outer: dict[tuple[int, int], set[int]] = {}
    for number, inner, other in edges:
        outer.setdefault((number, inner), set()).add(other)
    return set().union(*(others for others in outer.values() if len(others) > 1))


def _neighbours(edges: list[tuple[int, int, int]]) -> dict[int, tuple[_Edge, ...]]:
    found: dict[int, list[_Edge]] = {}
    for number, inner, outer in edges:
        found.setdefault(inner, []).append((number, 0, outer))
        found.setdefault(outer, []).append((number, 1, inner))
    return {label: tuple(sorted(own)) for label, own in found.items()}


def _refine(profiles: Tensor, edges: list[tuple[int, int, int]], fixed: set[int]) -> list[int]:
    """Tell units apart by what they lie in and by what lies in them, and so on; those that are fixed by themselves."""
    own = torch.zeros_like(profiles)
    if edges and fixed:
        places = torch.tensor(sorted(fixed))
        own[places] = _mix(places, torch.ones_like(places))
        profiles = torch.where(own != 0, own, profiles)
    for _ in range(ROUNDS if edges else 0):
        number, inner, outer = torch.tensor(edges).T
        found = torch.zeros_like(profiles)
        found.index_add_(0, inner, _mix(profiles[outer], 2 * number))
        found.index_add_(0, outer, _mix(profiles[inner], 2 * number + 1))
        profiles = torch.where(own != 0, own, _mix(profiles, found))
    colours: list[int] = profiles.tolist()
    return colours


def _blocks(
    movable: list[int], colours: list[int], neighbours: dict[int, tuple[_Edge, ...]]
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Find blocks that may be exchanged: units that hang together, in the same way in each block."""
    alike: dict[tuple[object, ...], list[tuple[int, ...]]] = {}
    for block in _components(movable, neighbours):
        labels = tuple(sorted(block, key=lambda label: (colours[label], label)))
        places = {label: place for place, label in enumerate(labels)}
        form: list[object] = []
        for label in labels:
            beside = sorted((number, way, places.get(other, -1 - other)) for number, way, other in neighbours[label])
            form.append((colours[label], *beside))
        alike.setdefault(tuple(form), []).append(labels)
    return tuple(tuple(sorted(found)) for found in alike.values() if len(found) > 1)


def _components(movable: list[int], neighbours: dict[int, tuple[_Edge, ...]]) -> list[set[int]]:
    """Find sets of movable units that hang together, each of two or more."""
    left = {label for label in movable if label in neighbours}
    found = []
    while left:
        block, waiting = set[int](), [min(left)]
        while waiting:
            label = waiting.pop()
            if label in left:
                left.discard(label)
                block.add(label)
                waiting += [other for _, _, other in neighbours[label]]
        if len(block) > 1:
            found.append(block)
    return found


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
