"""What tracing claims, tried out: symmetries that do not hold are frozen, so that a mistake never lies."""

from collections.abc import Iterable
from typing import Literal

import attrs
import torch
from torch import Tensor, nn

from hyperframe.discovery import Frozen
from hyperframe.errors import brief
from hyperframe.exact import exact_copy, redrawn, run_exactly
from hyperframe.structure import FROZEN, Axis, Structure
from hyperframe.symmetry import KINDS, Orbits, apply_action, orbits, random_action

IMAGES = 16
TRIES = 3
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


def tried(module: nn.Module, structure: Structure) -> tuple[Structure, tuple[Frozen, ...]]:
    """Try one action of all kinds at once, and where it fails each kind; return what holds, and what was frozen.

    Args:
        module: the traced module; it is not changed.
        structure: what tracing claims of it.
    """
    trial = _Trial(module, structure)
    if trial.outputs is None:
        return _without_all(structure), (Frozen("self-check", "", f"nothing could be tried in float64: {trial.why}"),)
    failed: list[Frozen] = []
    if not trial.broken(structure, KINDS):
        return structure, ()
    for kind, field in FIELDS.items():
        structure, found = trial.mended(structure, kind, field)
        failed += found
    if structure.spec.logits is not None and trial.broken(structure, ["logit_shift"]):
        failed.append(Frozen("self-check", structure.spec.logits, "a common shift of the logits changes the outputs"))
        structure = attrs.evolve(structure, spec=attrs.evolve(structure.spec, logits=None))
    return structure, tuple(failed)


class _Trial:
    """A module with weights and inputs on which its outputs are finite."""

    def __init__(self, module: nn.Module, structure: Structure) -> None:
        self.module = exact_copy(module)
        self.outputs: Tensor | None = None
        self.why = "its outputs are not finite on random weights"
        shape = structure.spec.input_shape
        for seed in range(TRIES):
            self.rng = torch.Generator().manual_seed(seed)
            self.weights = redrawn(structure.spec, 1, self.rng)
            self.inputs = torch.randn(IMAGES, *shape, generator=self.rng, dtype=torch.float64)
            try:
                outputs = run_exactly(self.module, structure.spec, self.weights, self.inputs)
            # The module's own code: it may work for two inputs, or in float32, only.
            except Exception as error:  # noqa: BLE001
                self.why = f"{type(error).__name__}: {brief(error)}"
                return
            if not torch.equal(outputs, run_exactly(self.module, structure.spec, self.weights, self.inputs)):
                self.why = "its outputs are not the same twice"
                return
            if bool(outputs.isfinite().all()):
                self.outputs = outputs
                return

    def broken(self, structure: Structure, kinds: Iterable[str]) -> bool:
        """Whether a random action of these kinds changes the outputs."""
        assert self.outputs is not None
        of = orbits(structure, shift_invariant=True)
        action = random_action(of, 1, self.rng, kinds=kinds)
        moved = run_exactly(self.module, structure.spec, apply_action(of, action, self.weights), self.inputs)
        difference = moved - self.outputs
        if "logit_shift" in kinds:
            difference = difference - difference.mean(-1, keepdim=True)
        return not bool(difference.abs().max() <= TOLERANCE * self.outputs.abs().max())

    def mended(self, structure: Structure, kind: str, field: Field) -> tuple[Structure, list[Frozen]]:
        """The structure without those labels of a kind that do not hold."""
        of = orbits(structure, shift_invariant=True)
        if not of.counts[kind] or not self.broken(structure, [kind]):
            return structure, []
        failed = []
        for layer in structure.shifts if kind == "normalisation" else ():
            alone = attrs.evolve(_nothing(structure, kind, field), shifts=(layer,))
            if self.broken(alone, [kind]):
                kept = tuple(name for name in structure.shifts if name != layer)
                structure = attrs.evolve(structure, shifts=kept)
                failed.append(Frozen("self-check", layer, "a shift of its biases changes the outputs"))
        for place, labels in unit_groups(of, kind).items():
            if self.broken(only(structure, field, labels), [kind]):
                structure = without(structure, field, labels)
                failed.append(Frozen("self-check", place, f"an action of the kind '{kind}' changes the outputs"))
        if orbits(structure, shift_invariant=True).counts[kind] and self.broken(structure, [kind]):
            structure = _nothing(structure, kind, field)
            failed.append(Frozen("self-check", kind, "together its actions change the outputs"))
        return structure, failed


def _nothing(structure: Structure, kind: str, field: Field) -> Structure:
    """A structure without any symmetry of a kind."""
    everything = {label for axis in structure.axes for label in getattr(axis, field)}
    without_labels = without(structure, field, everything)
    return attrs.evolve(without_labels, shifts=()) if kind == "normalisation" else without_labels


def _without_all(structure: Structure) -> Structure:
    """A structure without any symmetry."""
    for field in FIELDS.values():
        structure = without(structure, field, {label for axis in structure.axes for label in getattr(axis, field)})
    return attrs.evolve(structure, shifts=(), spec=attrs.evolve(structure.spec, logits=None))


def unit_groups(of: Orbits, kind: str) -> dict[str, set[int]]:
    """Labels of a kind, other than `logit_shift`, by the layer that writes them first."""
    if kind == "permutation":
        groups: dict[str, set[int]] = {}
        for number, members in enumerate(of.permutations):
            groups[f"units {number}: {_writer(of.structure, members[0])}"] = set(members)
        return groups
    orbit = getattr(of, kind)
    found = {stage.layer: set[int]() for stage in orbit.stages}
    for stage in orbit.stages:
        found[stage.layer] |= {int(orbit.labels[number]) for number in stage.anchored}
    rest = set(orbit.labels.tolist()) - set().union(*found.values())
    return {place: labels for place, labels in {**found, "others": rest}.items() if labels}


def _writer(structure: Structure, label: int) -> str:
    return next((axis.parameter for axis in structure.axes if axis.exponent == 1 and label in axis.permutation), "")


def only(structure: Structure, field: Field, labels: set[int]) -> Structure:
    """A structure with some labels of one kind alone, and no shifts."""
    others = {label for axis in structure.axes for label in getattr(axis, field)} - labels
    return without(attrs.evolve(structure, shifts=()), field, others)


def without(structure: Structure, field: Field, labels: set[int]) -> Structure:
    """A structure with some labels of one kind frozen."""
    gone = labels | {FROZEN}
    axes = tuple(_frozen(axis, field, gone) for axis in structure.axes)
    classes = structure.classes
    if field == "permutation":
        classes = tuple(members for members in classes if not gone & set(members))
    return attrs.evolve(structure, axes=axes, classes=classes)


def _frozen(axis: Axis, field: Field, gone: set[int]) -> Axis:
    kept = tuple(FROZEN if label in gone else label for label in getattr(axis, field))
    if field == "scaling":
        return attrs.evolve(axis, scaling=kept)
    return attrs.evolve(axis, sign=kept) if field == "sign" else attrs.evolve(axis, permutation=kept)
