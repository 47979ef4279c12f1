"""Claims of tracing tried out: symmetries that do not hold are frozen, so that a wrong rule costs only symmetries."""

from collections.abc import Iterable, Sequence, Set
from typing import Literal

import attrs
import torch
from torch import Tensor, nn

from hyperframe.errors import Forgiven, described
from hyperframe.targets.symmetry.exact import Mode, exact_copy, other_modes, redraw, run_exactly
from hyperframe.targets.symmetry.mixing import linear_sets, mix
from hyperframe.targets.symmetry.orbits import KINDS, Orbits, apply_action, orbits, random_action
from hyperframe.targets.symmetry.structure import FROZEN, Axis, Structure
from hyperframe.targets.tracing.findings import Frozen
from hyperframe.targets.trial_inputs import TrialInputs
from hyperframe.types import Weights

TRIALS = ((100_000, 8, 17, 3), (30_000_000, 2, 7, 1))
"""Up to so many weights: on how many networks an action is tried, on how many examples, and how many actions. Few
modules have 7 or 17 channels, so that what is of each example is not taken for what is of each channel. One action
takes two signs for one in 1 of 16 draws, since every second of 8 networks has just the signs that the one before it has
not; three do so in 1 of 4,096. Layers of large modules have too many units for all of them to be missed."""

ONE = (1, 7, 1)
"""The same for all larger modules."""

DRAWN = 4
"""Up to this many times the wanted number of networks are drawn, since some are dead or not finite."""

TOLERANCE = 1e-6
"""Of the largest output; what does not hold is wrong by far more, and rounding is amplified by normalisations."""

Field = Literal["scaling", "sign", "permutation"]
FIELDS: dict[str, Field] = {
    "scaling": "scaling",
    "sign": "sign",
    "normalisation": "scaling",
    "norm_sign": "sign",
    "permutation": "permutation",
}


def verify(module: nn.Module, structure: Structure, inputs: TrialInputs) -> tuple[Structure, tuple[Frozen, ...]]:
    """Try actions of all kinds at once until they hold; return what holds, and what was frozen.

    Where they do not hold, the kinds are added one after the other, and of a kind that does not hold beside those
    before it the parts, each the labels that one layer writes first. A part that does not hold is frozen.

    Args:
        module: the traced module; it is not changed.
        structure: what tracing claims of it.
        inputs: what it is tried on.
    """
    trial = _Trial(module, structure, inputs)
    if not trial.outputs:
        return _without_all(structure), (Frozen("self-check", "", f"nothing could be tried in float64: {trial.why}"),)
    failed: list[Frozen] = []
    while trial.find_broken(structure, KINDS) is not None:
        found: list[Frozen] = []
        for number, kind in enumerate(KINDS):
            structure, frozen = trial.mend(structure, kind, KINDS[:number])
            found += frozen
        if not found:  # it holds in some draws, and in others not
            structure = _without_all(structure)
            found = [Frozen("self-check", "", "all actions together change the outputs in some draws")]
        failed += found
    return attrs.evolve(structure, linear=tuple(trial.find_linear(structure, linear_sets(structure)))), tuple(failed)


@attrs.frozen
class _Part:
    """Some of the labels of a kind, blocks of labels, a layer whose biases are shifted, or the layer of the logits."""

    place: str
    why: str
    labels: frozenset[int] = frozenset()
    blocks: tuple[tuple[int, ...], ...] = ()


class _Trial:
    """A module with networks and inputs on which its outputs are finite and depend on the inputs."""

    def __init__(self, module: nn.Module, structure: Structure, inputs: TrialInputs) -> None:
        self.module, self.spec, self._tried_on = exact_copy(module), structure.spec, inputs
        self.rng = torch.Generator().manual_seed(0)
        self.outputs: dict[Mode, Tensor] = {}
        self.why = "its outputs are not finite, or do not depend on its inputs, on random weights"
        with Forgiven(self._failed):  # it may work for two inputs, or in float32, only
            self._draw()

    def _failed(self, error: BaseException) -> None:
        self.outputs, self.why = {}, described(error)

    def _draw(self) -> None:
        size = self.spec.num_weights
        wanted, examples, self.actions = next((trial[1:] for trial in TRIALS if size <= trial[0]), ONE)
        self.inputs = self._tried_on.draw(examples, self.rng, torch.float64)
        kept: list[tuple[Weights, Tensor]] = []
        for _ in range(DRAWN * wanted):
            weights = redraw(self.spec, 1, self.rng)
            outputs = run_exactly(self.module, self.spec, weights, self.inputs)
            if not kept and not torch.equal(outputs, run_exactly(self.module, self.spec, weights, self.inputs)):
                self.why = "its outputs are not the same twice"
                return
            if bool(outputs.isfinite().all()) and bool(outputs.std(1).max() > TOLERANCE * outputs.abs().max()):
                kept.append((weights, outputs))
            if len(kept) == wanted:
                break
        if not kept:
            return
        others = other_modes(self.module, self.spec, kept[0][0], self.inputs, kept[0][1])
        self.weights = {layer: torch.cat([weights[layer] for weights, _ in kept]) for layer in kept[0][0]}
        for mode in others:
            self.outputs[mode] = run_exactly(self.module, self.spec, self.weights, self.inputs, mode=mode)
        self.outputs["evaluation"] = torch.cat([outputs for _, outputs in kept])

    def find_broken(self, structure: Structure, kinds: Iterable[str]) -> str | None:
        """Try random actions of these kinds; return in words the mode in which outputs change, or None."""
        of = orbits(structure, shift_invariant=True)
        for mode in [*self.outputs] * self.actions:
            left = kinds_in(mode, kinds, self.outputs)
            # No other kind may shift all outputs alike, which of a single output would let any change pass.
            others = [kind for kind in left if kind != "logit_shift"]
            shifts = of.logit_shift is not None and len(others) < len(left)
            if (others and self._moves(of, others, mode)) or (shifts and self._moves(of, left, mode, shifts=True)):
                return "" if mode == "evaluation" else " in training mode"
        return None

    def _moves(self, of: Orbits, kinds: Sequence[str], mode: Mode, *, shifts: bool = False) -> bool:
        """Whether a random action changes the outputs, where it `shifts` them by more than a common shift."""
        outputs = self.outputs[mode]
        moved = apply_action(of, random_action(of, len(outputs), self.rng, kinds=kinds), self.weights)
        change = run_exactly(self.module, self.spec, moved, self.inputs, mode=mode) - outputs
        if shifts:
            change = change - change.mean(2, keepdim=True)
        return not _is_rounding(change, outputs)

    def find_linear(self, structure: Structure, sets: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return those of some sets of units that any invertible matrix may mix."""
        if not sets or self._mixes(structure, sets):
            return list(sets)
        half = len(sets) // 2
        return [found for part in (sets[:half], sets[half:]) if half for found in self.find_linear(structure, part)]

    def _mixes(self, structure: Structure, sets: Sequence[tuple[int, ...]]) -> bool:
        moved = mix(structure, sets, self.weights, self.rng)
        for mode, outputs in self.outputs.items():
            change = run_exactly(self.module, self.spec, moved, self.inputs, mode=mode) - outputs
            if not _is_rounding(change, outputs):
                return False
        return True

    def mend(self, structure: Structure, kind: str, held: Sequence[str]) -> tuple[Structure, list[Frozen]]:
        """Freeze those parts of a kind that do not hold beside each other and the kinds that hold."""
        parts = _parts(structure, kind)
        if not parts:
            return structure, []
        failed: list[Frozen] = []

        def keep(kept: list[_Part], more: list[_Part]) -> list[_Part]:
            """Return what is kept, and as much of what is more as holds beside it."""
            where = self.find_broken(_with_parts(structure, kind, parts, [*kept, *more]), [*held, kind])
            if where is None:
                return [*kept, *more]
            if len(more) == 1:
                failed.append(Frozen("self-check", more[0].place, more[0].why + where))
                return kept
            half = len(more) // 2
            return keep(keep(kept, more[:half]), more[half:])

        return _with_parts(structure, kind, parts, keep([], parts)), failed


def _is_rounding(change: Tensor, outputs: Tensor) -> bool:
    """Whether a change of outputs [networks, examples, *outputs] is within the tolerance for each network."""
    return bool((change.abs().flatten(1).amax(1) <= TOLERANCE * outputs.abs().flatten(1).amax(1)).all())


def _parts(structure: Structure, kind: str) -> list[_Part]:
    """Return the parts of a kind, each of which is kept or frozen as a whole."""
    of = orbits(structure, shift_invariant=True)
    if kind == "logit_shift":
        logits = structure.spec.logits
        return [] if logits is None else [_Part(logits, "a common shift of the logits changes the outputs")]
    shifts = of.shifts if kind == "normalisation" else ()
    blocks = {frozenset[int]().union(*found): found for found in structure.blocks if kind == "permutation"}
    why = f"an action of the kind '{kind}' changes the outputs"
    return [
        *(_Part(layer, "a shift of its biases changes the outputs") for layer in shifts),
        *(
            _Part(place, why, blocks=blocks[labels]) if labels in blocks else _Part(place, why, labels)
            for place, labels in unit_groups(of, kind).items()
        ),
    ]


def _with_parts(structure: Structure, kind: str, parts: Sequence[_Part], kept: Sequence[_Part]) -> Structure:
    """Keep some of the parts that a structure has of a kind."""
    gone = [part for part in parts if part not in kept]
    labels = set[int]().union(*(part.labels for part in gone))
    if labels:
        structure = without(structure, FIELDS[kind], labels)
    blocks = {part.blocks for part in gone if part.blocks}
    structure = attrs.evolve(structure, blocks=tuple(found for found in structure.blocks if found not in blocks))
    places = {part.place for part in gone if not part.labels and not part.blocks}
    if kind == "logit_shift" and places:
        return attrs.evolve(structure, spec=attrs.evolve(structure.spec, logits=None))
    return attrs.evolve(structure, shifts=tuple(layer for layer in structure.shifts if layer not in places))


def kinds_in(mode: Mode, kinds: Iterable[str], modes: Iterable[Mode]) -> list[str]:
    """Return those of some kinds that are tried in a mode: units that change places meet other random numbers.

    Example:
        >>> kinds_in("training", ["sign", "permutation"], ["evaluation", "training", "alike"])
        ['sign']
        >>> kinds_in("training", ["sign", "permutation"], ["evaluation", "training"])
        ['sign', 'permutation']
    """
    random_numbers = mode == "training" and "alike" in modes
    return [kind for kind in kinds if not (random_numbers and kind == "permutation")]


def _without_all(structure: Structure) -> Structure:
    """Freeze all symmetries of a structure."""
    for field in FIELDS.values():
        structure = without(structure, field, {label for axis in structure.axes for label in getattr(axis, field)})
    return attrs.evolve(structure, shifts=(), spec=attrs.evolve(structure.spec, logits=None))


def unit_groups(of: Orbits, kind: str) -> dict[str, frozenset[int]]:
    """Group the labels of a kind, other than `logit_shift`, by the layer that writes them first; blocks are groups."""
    if kind == "permutation":
        blocks = [frozenset[int]().union(*found) for found in of.structure.blocks]
        return {
            f"{word} {number}: {_writer(of.structure, members)}": frozenset(members)
            for word, sets in (("units", of.permutations), ("blocks", blocks))
            for number, members in enumerate(sets)
        }
    orbit = getattr(of, kind)
    found = {stage.layer: set[int]() for stage in orbit.stages}
    for stage in orbit.stages:
        found[stage.layer] |= {int(orbit.labels[number]) for number in stage.anchored}
    rest = set(orbit.labels.tolist()) - set().union(*found.values())
    return {place: frozenset(labels) for place, labels in {**found, "others": rest}.items() if labels}


def _writer(structure: Structure, labels: Iterable[int]) -> str:
    """Name the parameter that first writes one of some labels."""
    wanted = set(labels)
    return next(
        (axis.parameter for axis in structure.axes if axis.exponent == 1 and wanted & set(axis.permutation)), ""
    )


def only(structure: Structure, field: Field, labels: Set[int]) -> Structure:
    """Freeze all labels of one kind but some, and all shifts."""
    others = {label for axis in structure.axes for label in getattr(axis, field)} - labels
    return without(attrs.evolve(structure, shifts=()), field, others)


def without(structure: Structure, field: Field, labels: set[int]) -> Structure:
    """Freeze some labels of one kind."""
    gone = labels | {FROZEN}
    axes = tuple(_freeze(axis, field, gone) for axis in structure.axes)
    classes, blocks = structure.classes, structure.blocks
    if field == "permutation":
        classes = tuple(members for members in classes if not gone & set(members))
        blocks = tuple(found for found in blocks if not any(gone & set(block) for block in found))
    return attrs.evolve(structure, axes=axes, classes=classes, blocks=blocks)


def _freeze(axis: Axis, field: Field, gone: set[int]) -> Axis:
    kept = tuple(FROZEN if label in gone else label for label in getattr(axis, field))
    if field == "scaling":
        return attrs.evolve(axis, scaling=kept)
    return attrs.evolve(axis, sign=kept) if field == "sign" else attrs.evolve(axis, permutation=kept)
