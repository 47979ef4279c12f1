"""Plant wrong claims and count how many the self-check of tracing finds: `python benchmarks/planted.py [PER_NETWORK]`.

The networks are those of `tests/modules.py`. Into what is claimed of each, one mistake at a time is planted that a rule
could make: a reader or a writer that is forgotten, a function that is taken for homogeneous or odd, units that are
exchanged although they stand in different ways, a bias that nothing takes away. A mistake is found where its labels are
frozen; one that stays is tried with other draws, and counts as missed where these say that it is wrong.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import torch
from torch import nn

from hyperframe.exact import exact_copy, redrawn, run_exactly
from hyperframe.selfcheck import Field, tried
from hyperframe.structure import FROZEN, Axis, Structure
from hyperframe.symmetry import KINDS, apply_action, orbits, random_action
from hyperframe.tracing import trace

ITEMS, DRAWS, WRONG = 23, 12, 1e-6


def main() -> None:
    """Print a row for each kind of mistake."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from modules import KNOWN  # noqa: PLC0415 (tests are no package)

    per_network = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    found: Counter[tuple[str, str]] = Counter()
    for name in KNOWN:
        torch.manual_seed(0)
        make, shape, _ = KNOWN[name]
        module = make()
        structure = trace(module, shape).structure
        for mistake, result in plant_all(module, structure, per_network, random.Random(name)):  # noqa: S311 (no secret)
            found[mistake, result] += 1
            if result == "missed":
                print(f"missed in '{name}': {mistake}", flush=True)
    print("| mistake | planted | found | missed | right after all |\n| --- | --- | --- | --- | --- |")
    for mistake in (*sorted({mistake for mistake, _ in found}), "all"):
        chosen = {key: count for key, count in found.items() if mistake in (key[0], "all")}
        caught, missed, right = (
            sum(count for (_, result), count in chosen.items() if result == wanted)
            for wanted in ("found", "missed", "right")
        )
        print(f"| {mistake} | {caught + missed} | {caught} ({caught / (caught + missed):.2%}) | {missed} | {right} |")


def plant_all(module: nn.Module, structure: Structure, count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Plant mistakes into a structure one by one; the name of each, and whether it was found, missed or right."""
    plants = [plant_forgotten, plant_passing, plant_exchange, plant_shift]
    for number in range(count):
        planted = plants[number % len(plants)](structure, rng)
        if planted is None:
            continue
        mistake, wrong = planted
        mended, _ = tried(module, wrong)
        if not _holds(wrong, mended):
            yield mistake, "found" if is_wrong(module, wrong) else "right"
        else:
            yield mistake, "missed" if is_wrong(module, wrong) else "right"


def _holds(wrong: Structure, mended: Structure) -> bool:
    """Whether the self-check left everything as it was planted."""
    return (wrong.axes, wrong.classes, wrong.shifts) == (mended.axes, mended.classes, mended.shifts)


def is_wrong(module: nn.Module, structure: Structure) -> bool:
    """Whether any of many actions changes the outputs."""
    copy, of, rng = exact_copy(module), orbits(structure, shift_invariant=True), torch.Generator().manual_seed(1)
    for _ in range(DRAWS):
        weights = redrawn(structure.spec, 1, rng)
        inputs = torch.randn(ITEMS, *structure.spec.input_shape, generator=rng, dtype=torch.float64)
        before = run_exactly(copy, structure.spec, weights, inputs)
        action = random_action(of, 1, rng, kinds=[kind for kind in KINDS if kind != "logit_shift"])
        after = run_exactly(copy, structure.spec, apply_action(of, action, weights), inputs)
        if not bool((after - before).abs().max() <= WRONG * before.abs().max()):
            return True
    return False


def plant_forgotten(structure: Structure, rng: random.Random) -> tuple[str, Structure] | None:
    """Some labels are not read, or not written, on one of the axes that have them."""
    field = rng.choice(["scaling", "sign"])
    free = [axis for axis in structure.axes if axis.exponent and set(getattr(axis, field)) - {FROZEN}]
    if not free:
        return None
    axis = rng.choice(free)
    labels = sorted(set(getattr(axis, field)) - {FROZEN})
    gone = set(rng.sample(labels, rng.randint(1, len(labels))))
    other = _relabelled(axis, field, [FROZEN if label in gone else label for label in getattr(axis, field)])
    name = "reader" if axis.exponent == -1 else "writer"
    return f"a forgotten {name}, {field}", _with_axis(structure, axis, other)


def plant_passing(structure: Structure, rng: random.Random) -> tuple[str, Structure] | None:
    """New labels on units that have none of a kind, as if a function let them pass."""
    field = rng.choice(["scaling", "sign"])
    units = {label for axis in structure.axes for label in axis.permutation} - {FROZEN}
    labelled = {
        unit
        for axis in structure.axes
        for unit, label in zip(axis.permutation, getattr(axis, field), strict=True)
        if label != FROZEN
    }
    if not units - labelled:
        return None
    chosen = set(rng.sample(sorted(units - labelled), rng.randint(1, len(units - labelled))))
    first = 1 + structure.highest(field)
    axes = []
    for axis in structure.axes:
        own = zip(axis.permutation, getattr(axis, field), strict=True)
        values = [first + unit if unit in chosen and axis.exponent else label for unit, label in own]
        axes.append(_relabelled(axis, field, values))
    return f"a function that lets pass, {field}", attrs.evolve(structure, axes=tuple(axes))


def plant_exchange(structure: Structure, rng: random.Random) -> tuple[str, Structure] | None:
    """Two units of different classes, or of none, are exchanged."""
    places: dict[int, set[tuple[str, int, int]]] = {}
    for axis in structure.axes:
        for label in set(axis.permutation) - {FROZEN}:
            places.setdefault(label, set()).add((axis.parameter, axis.dim, axis.exponent))
    of_class = {label: number for number, members in enumerate(structure.classes) for label in members}
    pairs = [
        (one, other)
        for one in places
        for other in places
        if one < other and places[one] == places[other]
        if of_class.get(one, -1 - one) != of_class.get(other, -1 - other)
    ]
    if not pairs:
        return None
    pair = rng.choice(pairs)
    kept = tuple(members for members in structure.classes if not set(members) & set(pair))
    return "units that stand in different ways", attrs.evolve(structure, classes=(*kept, pair))


def plant_shift(structure: Structure, rng: random.Random) -> tuple[str, Structure] | None:
    """The bias of a layer is said to be taken away."""
    layers = [
        layer.name for layer in structure.spec.layers if "bias" in layer.columns and layer.name not in structure.shifts
    ]
    if not layers:
        return None
    return "a bias that is not taken away", attrs.evolve(structure, shifts=(*structure.shifts, rng.choice(layers)))


def _relabelled(axis: Axis, field: Field, labels: list[int]) -> Axis:
    values = tuple(labels)
    return attrs.evolve(axis, scaling=values) if field == "scaling" else attrs.evolve(axis, sign=values)


def _with_axis(structure: Structure, axis: Axis, other: Axis) -> Structure:
    return attrs.evolve(structure, axes=tuple(other if own is axis else own for own in structure.axes))


if __name__ == "__main__":
    main()
