"""Laws of targets: a spec describes its module, and the symmetries that follow from it, or were traced, hold.

They must hold in both modes in which networks are used, see `hyperframe.targets.symmetry.exact`.
"""

from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor

from hyperframe.networks.target import Target
from hyperframe.targets.symmetry.exact import Mode, other_modes, redraw, run_exactly
from hyperframe.targets.symmetry.orbits import KINDS, Orbits, apply_action, orbits, random_action
from hyperframe.targets.symmetry.precision import DoublePrecision
from hyperframe.targets.symmetry.structure import Axis
from hyperframe.targets.tracing.verify import FIELDS, Field, kinds_in, only, unit_groups
from hyperframe.targets.weights import from_state_dicts, pack, slice_weights, unpack
from hyperframe.testing.laws import Broken, Case, Draw, Law, Vacuous, farthest, relative
from hyperframe.types import Weights

LARGE = 100_000
"""A target with more weights is tried on one example."""

HUGE = 30_000_000
"""A target with more weights is run one network at a time."""

TOLERANCE = 1e-6
"""Of outputs, relative to the largest. What does not hold is wrong by far more; norms amplify rounding."""

REDRAWN = 10
"""So often weights are drawn anew where outputs are not finite."""

PLACES = 3
"""So many places are named where a symmetry does not hold."""


class TargetCase(Case):
    """A target in float64, and its symmetries."""

    def __init__(self, target: Target) -> None:
        self.target = target.to("cpu", torch.float64)
        self.spec, self.structure = target.spec, target.structure
        self.large = self.spec.num_weights > LARGE
        self.several = 1 if self.spec.num_weights > HUGE else 2  # networks that are run together
        self.orbits = orbits(self.structure, shift_invariant=True)
        self._modes: tuple[Mode, ...] = ()

    def outputs(
        self, weights: Weights, inputs: Tensor, *, own_epsilon: bool = False, mode: Mode = "evaluation"
    ) -> Tensor:
        """What the module computes, with the statistics of the batch."""
        module = self.target.module
        return run_exactly(module, self.spec, weights, inputs, own_epsilon=own_epsilon, mode=mode)

    def modes(self, weights: Weights, inputs: Tensor, outputs: Tensor) -> tuple[Mode, ...]:
        """The modes in which symmetries are tried, found out on the first networks that it is called with.

        Args:
            weights: of networks.
            inputs: what they saw.
            outputs: theirs in evaluation mode.
        """
        if not self._modes:
            first = slice_weights(weights, slice(1))
            others = other_modes(self.target.module, self.spec, first, inputs, outputs[:1])
            self._modes = ("evaluation", *others)
        return self._modes

    def inputs(self, count: int, rng: torch.Generator) -> Tensor:
        """Inputs [count, *input_shape] of such numbers as the module takes."""
        return self.target.tried_on.draw(count, rng, torch.float64)

    def drawn(self, draw: Draw) -> tuple[Weights, Tensor, Tensor]:
        """Weights on which the outputs are finite, inputs, and these outputs.

        Raises:
            Broken: outputs are finite on none of several draws.
        """
        rng = draw.rng()
        networks = 1 if self.large else draw.networks
        for _ in range(REDRAWN):
            weights = redraw(self.spec, networks, rng)
            inputs = self.inputs(draw.examples, rng)
            outputs = self.outputs(weights, inputs)
            if bool(outputs.isfinite().all()):
                return weights, inputs, outputs
        raise Broken("outputs are not finite on random weights of the usual size")


def _describes(case: TargetCase, draw: Draw) -> None:
    """Weights, parameters and state_dicts are each other's inverses, bit for bit."""
    spec, target = case.spec, case.target
    weights = redraw(spec, case.several, draw.rng())
    back = pack(spec, unpack(spec, weights))
    for layer in weights:
        if not torch.equal(back[layer], weights[layer]):
            raise Broken("pack(unpack(weights)) is not the same, bit for bit", f"layer '{layer}'")
    found = from_state_dicts(spec, [target.state_dict(weights, 0)])
    for layer in weights:
        if not torch.equal(found[layer][0], weights[layer][0]):
            raise Broken("weights that went through a state_dict are not the same, bit for bit", f"layer '{layer}'")
    module = target.network(weights, 0)
    parameters = dict(module.named_parameters())
    values = unpack(spec, slice_weights(weights, slice(1)))
    for name, value in values.items():
        if not torch.equal(parameters[name].detach(), value[0]):
            raise Broken("the network does not have the weights that it was given", f"parameter '{name}'")


def _runs(case: TargetCase, draw: Draw) -> str:
    """The batched forward is that of each network's module."""
    target = case.target
    count = case.several
    weights = redraw(case.spec, count, draw.rng())
    inputs = case.inputs(draw.examples, draw.rng())
    kept = inputs.clone()
    outputs = target.forward(weights, inputs, shared=True)
    expected = (count, draw.examples, case.spec.num_outputs)
    if tuple(outputs.shape) != expected:
        raise Broken(f"outputs have the shape {list(outputs.shape)}, not {list(expected)}")
    if not torch.equal(inputs, kept):
        raise Broken("the forward pass changes its inputs")
    if not torch.equal(outputs, target.forward(weights, inputs, shared=True)):
        raise Broken("the same networks on the same inputs give other outputs the second time")
    with torch.no_grad():
        alone = torch.stack([target.network(weights, number)(inputs) for number in range(count)])
    difference = relative(alone, outputs)
    if not difference <= TOLERANCE:
        raise Broken(f"outputs of the batch and of the module alone differ by {difference:.1e} of the largest")
    return f"batched and alone agree within {difference:.0e}"


def _trains(case: TargetCase, draw: Draw) -> None:
    """In training mode every network of a batch has a finite gradient."""
    weights = redraw(case.spec, case.several, draw.rng())
    leaves = {layer: value.requires_grad_() for layer, value in weights.items()}
    inputs = case.inputs(case.several * draw.examples, draw.rng()).unflatten(0, (case.several, draw.examples))
    outputs = case.target.forward(leaves, inputs, training=True)
    outputs.square().mean().backward()
    for layer, leaf in leaves.items():
        if leaf.grad is None or not bool(leaf.grad.isfinite().all()):
            raise Broken("the gradient is missing or not finite", f"layer '{layer}'")


def _matters(case: TargetCase, draw: Draw) -> None:
    """Every generated parameter has a part in the outputs."""
    rng = draw.rng()
    silent = {param.parameter for layer in case.spec.layers for param in layer.params}
    for _ in range(REDRAWN):  # a dead unit can hide what is behind it
        weights = redraw(case.spec, 1, rng)
        unpacked = {name: value.requires_grad_() for name, value in unpack(case.spec, weights).items()}
        inputs = case.inputs(draw.examples, rng)
        outputs = case.target.run(unpacked, inputs, shared=True)
        probe = torch.randn(outputs.shape, generator=rng, dtype=torch.float64)
        found = torch.autograd.grad((outputs * probe).sum(), list(unpacked.values()), allow_unused=True)
        for name, gradient in zip(unpacked, found, strict=True):
            if gradient is not None and bool(gradient.any()):
                silent.discard(name)
        if not silent:
            return
    raise Broken("no output changes with it", f"parameter '{min(silent)}'")


@attrs.frozen(eq=False)
class _Trial:
    """Networks on inputs in one mode, with their outputs."""

    case: TargetCase
    draw: Draw
    weights: Weights
    inputs: Tensor
    mode: Mode
    before: Tensor

    def moved(self, of: Orbits, kinds: Sequence[str]) -> Weights:
        """Apply a random action of some kinds to the weights, always the same one."""
        action = random_action(of, len(self.before), self.draw.rng(), kinds=kinds, exponents=self.draw.exponents)
        return apply_action(of, action, self.weights)

    def difference(self, moved: Weights, kinds: Sequence[str]) -> float:
        """By how much a task sees the outputs change, relative to the largest."""
        after = self.case.outputs(moved, self.inputs, mode=self.mode)
        return relative(_seen(self.before, kinds), _seen(after, kinds))


def _holds(kinds: Sequence[str], case: TargetCase, draw: Draw) -> str:
    """Actions of some kinds change no output but by rounding, in evaluation and in training."""
    if not any(case.orbits.counts[kind] for kind in kinds):
        raise Vacuous("the target has no such symmetry")
    weights, inputs, before = case.drawn(draw)
    trial = _Trial(case, draw, weights, inputs, "evaluation", before)
    difference = _unchanged(trial, kinds)
    modes = case.modes(weights, inputs, before)
    for mode in modes[1:]:
        left = kinds_in(mode, kinds, modes)
        if any(case.orbits.counts[kind] for kind in left):
            _unchanged(attrs.evolve(trial, mode=mode, before=case.outputs(weights, inputs, mode=mode)), left)
    note = f"outputs within {difference:.0e}" if difference else "outputs equal bit for bit"
    if len(kinds) > 1:
        moved = trial.moved(case.orbits, kinds)
        pair = (case.outputs(these, inputs, own_epsilon=True) for these in (weights, moved))
        own = relative(*(_seen(outputs, kinds) for outputs in pair))
        return f"{note}; with the norms' own epsilons within {own:.0e}"
    if kinds[0] in ("scaling", "sign", "permutation") and not case.large:
        _not_vacuous(trial, kinds[0])
    return note


def _unchanged(trial: _Trial, kinds: Sequence[str]) -> float:
    """By how much an action changes the outputs; raises `Broken` where it is by more than rounding."""
    others = [kind for kind in kinds if kind != "logit_shift"]
    if len(others) < len(kinds) and any(trial.case.orbits.counts[kind] for kind in others):
        _unchanged(trial, others)  # no other kind may shift all outputs alike, which of a single one is any change
    moved = trial.moved(trial.case.orbits, kinds)
    if farthest(trial.weights, moved)[0] == 0:
        raise Vacuous("the drawn action moves nothing")
    difference = trial.difference(moved, kinds)
    if not difference <= TOLERANCE:
        where = "" if trial.mode == "evaluation" else " in training mode"
        raise Broken(f"outputs change by {difference:.1e} of the largest{where}", "; ".join(_places(trial, kinds)))
    return difference


def _seen(outputs: Tensor, kinds: Sequence[str]) -> Tensor:
    """What a task sees of the outputs that does not see a common shift."""
    return outputs - outputs.mean(-1, keepdim=True) if "logit_shift" in kinds else outputs


def _not_vacuous(trial: _Trial, kind: str) -> None:
    """An action that forgets all readers must be seen in the outputs; otherwise nothing was tried."""
    case = trial.case
    writers = tuple(axis for axis in case.structure.axes if axis.exponent != -1)
    moved = trial.moved(attrs.evolve(case.orbits, structure=attrs.evolve(case.structure, axes=writers)), [kind])
    if farthest(trial.weights, moved)[0] and torch.equal(case.outputs(moved, trial.inputs), trial.before):
        raise Vacuous("an action that forgets all readers changes no output either: no signal reaches the outputs")


def _places(trial: _Trial, kinds: Sequence[str]) -> list[str]:
    """Where a symmetry does not hold: the layers that write the units, and the axes that its labels sit on."""
    found: list[str] = []
    structure, of = trial.case.structure, trial.case.orbits
    for kind, field in FIELDS.items():
        if kind not in kinds or not of.counts[kind]:
            continue
        for place, labels in unit_groups(of, kind).items():
            alone = orbits(only(structure, field, labels), shift_invariant=True)
            if not trial.difference(trial.moved(alone, [kind]), [kind]) <= TOLERANCE:
                found.append(f"units of {place} ({_axes(structure.axes, field, labels)})")
            if len(found) == PLACES:
                return found
    return found or [f"kind '{kinds[0]}'" if len(kinds) == 1 else "only all kinds together"]


def _axes(axes: Sequence[Axis], field: Field, labels: set[int]) -> str:
    """The axes that carry some labels, as a user finds them in the module."""
    carrying = [axis for axis in axes if labels & set(getattr(axis, field))]
    words = {1: "written by", -1: "read by", 0: "moved in"}
    parts = []
    for exponent, word in words.items():
        names = [f"{axis.parameter} axis {axis.dim}" for axis in carrying if axis.exponent == exponent]
        if names:
            parts.append(f"{word} {', '.join(dict.fromkeys(names))}")
    return "; ".join(parts)


def _law_of(kind: str, text: str, cause: str) -> Law:
    return Law(name=kind, text=text, cause=cause, holds=lambda case, draw: _holds([kind], case, draw))


def _precisely(holds: Callable[[TargetCase, Draw], str | None]) -> Callable[[TargetCase, Draw], str | None]:
    """A law of what the target itself runs, with casts to fewer digits left out, as `run_exactly` has them."""

    def held(case: TargetCase, draw: Draw) -> str | None:
        with DoublePrecision():
            return holds(case, draw)

    return held


LAWS = (
    Law(
        name="spec_describes_module",
        text="weights, the module's parameters and state_dicts are each other's inverses, bit for bit",
        cause="a parameter that two layers claim, rows that overlap, or an axis order that is not the parameter's",
        holds=_describes,
        examples=1,
    ),
    Law(
        name="batch_equals_modules",
        text="the forward pass of a batch gives what each network's module gives, the same every time",
        cause="a forward that keeps state, draws numbers in evaluation mode, or decides by values",
        holds=_precisely(_runs),
        examples=1,
    ),
    Law(
        name="gradients_are_finite",
        text="in training mode every layer of every network has a finite gradient",
        cause="a square root or logarithm of zero, or a layer that is claimed and not used",
        holds=_precisely(_trains),
        examples=1,
    ),
    Law(
        name="every_parameter_matters",
        text="some output changes with every parameter that is generated",
        cause="a layer that the forward pass never calls, such as an auxiliary head",
        holds=_precisely(_matters),
        examples=1,
    ),
    _law_of(
        "scaling",
        "positive factors that layers write and others divide by change no output",
        "a forgotten reader or tied writer, an operation declared as ReLU that is not positively homogeneous (GELU, "
        "tanh), or a factor claimed across a gate",
    ),
    _law_of(
        "sign",
        "signs that layers write and others read change no output",
        "an operation that is not odd between them: max-pooling behind a tanh, a ReLU, a sigmoid",
    ),
    _law_of(
        "normalisation",
        "factors of kernels and shifts of biases before a normalisation change no output",
        "a normalisation over other axes than the layer's filters, or a second reader before it",
    ),
    _law_of(
        "norm_sign",
        "a kernel before a normalisation and the normalisation's scale can change their signs together",
        "a scale that belongs to another layer's normalisation",
    ),
    _law_of(
        "permutation",
        "units of one space can change places, with all that writes and reads them",
        "a forgotten tie (residual sum, shared weight) or reader, parts of a concatenation in another order, or a "
        "flattened axis that is read in another order",
    ),
    _law_of(
        "logit_shift",
        "one vector added to every row of the last layer changes no difference of outputs",
        "spec.logits names a layer that something other than means and reshapes follows",
    ),
    Law(
        name="all_together",
        text="a random element of the whole symmetry group changes nothing that the task sees",
        cause="two symmetries that each hold alone and share a label",
        holds=lambda case, draw: _holds(KINDS, case, draw),
    ),
)
