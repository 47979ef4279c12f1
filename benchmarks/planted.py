"""Plant wrong claims and count how many the self-check of tracing finds: `python benchmarks/planted.py [PER_NETWORK]`.

The networks are those of `tests/modules.py`, and the kit's examples with 1 to 12 units a layer. Into what is claimed of
each, one mistake at a time is planted that a rule could make: a reader or a writer that is forgotten, two labels that
are confused, a function that is taken for homogeneous or odd, units that are exchanged although they stand in different
ways, a bias that nothing takes away. A mistake is found where what the self-check leaves holds. That is tried in other
draws; what these do not refute before either was right after all, and does not count.
"""

import inspect
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs
import torch
from torch import nn

from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.exact import exact_copy, other_modes, redraw, run_exactly
from hyperframe.targets.symmetry.from_spec import compile_structure
from hyperframe.targets.symmetry.orbits import KINDS, apply_action, orbits, random_action
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure
from hyperframe.targets.tracing.tracer import trace
from hyperframe.targets.tracing.verify import Field, kinds_in, verify
from hyperframe.targets.trial_inputs import TrialInputs
from hyperframe.testing.examples import EXAMPLES

INPUTS, DRAWS, WRONG = 23, 12, 1e-6


def main() -> None:
    """Print a row for each kind of mistake."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from modules import KNOWN  # noqa: PLC0415 (tests are no package)

    per_network = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    found: Counter[tuple[str, str]] = Counter()
    for name, make in {**{name: partial(_traced, *KNOWN[name][:2]) for name in KNOWN}, **dict(_examples())}.items():
        torch.manual_seed(0)
        module, structure = make()
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
        share = 100 * caught / (caught + missed)
        print(f"| {mistake} | {caught + missed} | {caught} ({share:.2f} %) | {missed} | {right} |")


Claimed = tuple[nn.Module, Structure]


def _traced(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> Claimed:
    module = make()
    return module, trace(module, shape).structure


def _examples() -> Iterator[tuple[str, Callable[[], Claimed]]]:
    """The kit's examples in several sizes, among them those with a single output."""
    rng = random.Random(0)  # noqa: S311 (no secret)
    for name, example in EXAMPLES.items():
        for outputs in (1, 2, 3, 12):
            names = [size for size in inspect.signature(example).parameters if size != "outputs"]
            widest = {"groups": 3, "tokens": 3}
            sizes = {size: rng.randint(1, widest.get(size, 12)) for size in names}
            yield f"{name} {sizes} with {outputs} outputs", partial(_written, example, {**sizes, "outputs": outputs})


def _written(example: Callable[..., tuple[nn.Module, TargetSpec]], sizes: dict[str, int]) -> Claimed:
    module, spec = example(**sizes)
    return module, compile_structure(spec.bind(module))


def plant_all(
    module: nn.Module, structure: Structure, count: int, rng: random.Random, inputs: TrialInputs | None = None
) -> Iterator[tuple[str, str]]:
    """Plant mistakes into a structure one by one; the name of each, and whether it was found, missed or right."""
    inputs = TrialInputs(structure.spec.input_shape) if inputs is None else inputs
    plants = [plant_forgotten, plant_confused, plant_passing, plant_exchange, plant_shift]
    for number in range(count):
        planted = plants[number % len(plants)](structure, rng)
        if planted is None:
            continue
        mistake, wrong = planted
        mended, _ = verify(module, wrong, inputs)
        if is_wrong(module, mended, inputs):
            yield mistake, "missed"
        else:
            yield mistake, "found" if is_wrong(module, wrong, inputs) else "right"


def is_wrong(module: nn.Module, structure: Structure, tried_on: TrialInputs | None = None) -> bool:
    """Whether any of many actions changes the outputs, in any mode."""
    tried_on = TrialInputs(structure.spec.input_shape) if tried_on is None else tried_on
    copy, spec, of = exact_copy(module), structure.spec, orbits(structure, shift_invariant=True)
    rng = torch.Generator().manual_seed(1)
    inputs = tried_on.draw(INPUTS, rng, torch.float64)
    weights = redraw(spec, DRAWS, rng)
    evaluated = run_exactly(copy, spec, weights, inputs)
    first = {layer: theta[:1] for layer, theta in weights.items()}
    modes = ("evaluation", *other_modes(copy, spec, first, inputs, evaluated[:1]))
    for mode in modes:
        before = run_exactly(copy, spec, weights, inputs, mode=mode)
        finite, size = before.isfinite().all(2).all(1), before.abs().amax((1, 2))
        for shifts in (False, True):
            left = [kind for kind in kinds_in(mode, KINDS, modes) if (kind == "logit_shift") == shifts]
            moved = apply_action(of, random_action(of, DRAWS, rng, kinds=left), weights)
            change = run_exactly(copy, spec, moved, inputs, mode=mode) - before
            if shifts:
                change = change - change.mean(-1, keepdim=True)
            if not bool((change.abs().amax((1, 2)) <= WRONG * size)[finite].all()):
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


def plant_confused(structure: Structure, rng: random.Random) -> tuple[str, Structure] | None:
    """On one of the axes that have them, two labels stand in each other's place, or one in that of the other."""
    field = rng.choice(["scaling", "sign"])
    several = [axis for axis in structure.axes if axis.exponent and len(set(getattr(axis, field)) - {FROZEN}) > 1]
    if not several:
        return None
    axis = rng.choice(several)
    one, other = rng.sample(sorted(set(getattr(axis, field)) - {FROZEN}), 2)
    changed = {one: other, other: rng.choice([one, other])}
    values = [changed.get(label, label) for label in getattr(axis, field)]
    return f"confused labels, {field}", _with_axis(structure, axis, _relabelled(axis, field, values))


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
