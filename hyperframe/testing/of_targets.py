"""Laws of targets: a spec describes its module, and all symmetries, from a spec or traced, hold.

Symmetries must hold in both modes in which networks are used, see `hyperframe.targets.symmetry.exact`.
"""

from collections.abc import Callable, Sequence, Set

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
"""A target with more weights is tested on one example only."""

HUGE = 30_000_000
"""A target with more weights is run one network at a time."""

TOLERANCE = 1e-6
"""The error allowed in outputs, relative to the largest. Norms amplify rounding; wrong symmetries err by far more."""

REDRAWN = 10
"""How often weights are drawn again where outputs are not finite."""

PLACES = 3
"""The most places that are named where a symmetry does not hold."""


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
        """Return the module's outputs, with the statistics of the batch."""
        module = self.target.module
        return run_exactly(module, self.spec, weights, inputs, own_epsilon=own_epsilon, mode=mode)

    def modes(self, weights: Weights, inputs: Tensor, outputs: Tensor) -> tuple[Mode, ...]:
        """Return the modes in which symmetries are tested, found with the first networks that it is called with.

        Args:
            weights: of networks.
            inputs: their inputs.
            outputs: their outputs in evaluation mode.
        """
        if not self._modes:
            first = slice_weights(weights, slice(1))
            others = other_modes(self.target.module, self.spec, first, inputs, outputs[:1])
            self._modes = ("evaluation", *others)
        return self._modes

    def inputs(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw inputs [count, *input_shape] of numbers that the module can take."""
        return self.target.tried_on.draw(count, rng, torch.float64)

    def make(self, draw: Draw) -> tuple[Weights, Tensor, Tensor]:
        """Draw weights and inputs for which the outputs are finite; return weights, inputs and outputs.

        Raises:
            Broken: no outputs of several draws are finite.
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
    if target.has_adapters:  # a network is taken out with its adapters merged, from which nothing leads back
        return
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
    """The batched forward pass has the outputs of each network's module."""
    target = case.target
    count = case.several
    weights = redraw(case.spec, count, draw.rng())
    inputs = case.inputs(draw.examples, draw.rng())
    kept = inputs.clone()
    outputs = target.forward(weights, inputs, shared=True)
    expected = (count, draw.examples, *case.spec.output_shape)
    if tuple(outputs.shape) != expected:
        raise Broken(f"outputs have the shape {list(outputs.shape)}, not {list(expected)}")
    if not torch.equal(inputs, kept):
        raise Broken("the forward pass changes its inputs")
    if not torch.equal(outputs, target.forward(weights, inputs, shared=True)):
        raise Broken("the same networks on the same inputs give other outputs a second time")
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
    """Every generated parameter has an effect on the outputs."""
    rng = draw.rng()
    silent = {param.parameter for layer in case.spec.layers for param in layer.params}
    for _ in range(REDRAWN):  # a dead unit can hide the parameters behind it
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

    def move(self, of: Orbits, kinds: Sequence[str]) -> Weights:
        """Apply a random action of some kinds to the weights, always the same one."""
        action = random_action(of, len(self.before), self.draw.rng(), kinds=kinds, exponents=self.draw.exponents)
        return apply_action(of, action, self.weights)

    def difference(self, moved: Weights, kinds: Sequence[str]) -> float:
        """Return how much the outputs change for a task, relative to the largest."""
        after = self.case.outputs(moved, self.inputs, mode=self.mode)
        return relative(_visible_part(self.before, kinds), _visible_part(after, kinds))


def _holds(kinds: Sequence[str], case: TargetCase, draw: Draw) -> str:
    """Actions of some kinds change outputs by no more than rounding, in evaluation and in training mode."""
    if not any(case.orbits.counts[kind] for kind in kinds):
        raise Vacuous("the target has no such symmetry")
    weights, inputs, before = case.make(draw)
    trial = _Trial(case, draw, weights, inputs, "evaluation", before)
    difference = _check_unchanged(trial, kinds)
    modes = case.modes(weights, inputs, before)
    for mode in modes[1:]:
        left = kinds_in(mode, kinds, modes)
        if any(case.orbits.counts[kind] for kind in left):
            _check_unchanged(attrs.evolve(trial, mode=mode, before=case.outputs(weights, inputs, mode=mode)), left)
    note = f"outputs within {difference:.0e}" if difference else "outputs equal bit for bit"
    if len(kinds) > 1:
        moved = trial.move(case.orbits, kinds)
        pair = (case.outputs(these, inputs, own_epsilon=True) for these in (weights, moved))
        own = relative(*(_visible_part(outputs, kinds) for outputs in pair))
        return f"{note}; with the norms' own epsilons within {own:.0e}"
    if kinds[0] in ("scaling", "sign", "permutation") and not case.large:
        _check_not_vacuous(trial, kinds[0])
    return note


def _check_unchanged(trial: _Trial, kinds: Sequence[str]) -> float:
    """Return how much an action changes the outputs; raises `Broken` if it is more than rounding."""
    others = [kind for kind in kinds if kind != "logit_shift"]
    if len(others) < len(kinds) and any(trial.case.orbits.counts[kind] for kind in others):
        _check_unchanged(trial, others)  # other kinds must not even shift all outputs alike
    moved = trial.move(trial.case.orbits, kinds)
    if farthest(trial.weights, moved)[0] == 0:
        raise Vacuous("the drawn action moves nothing")
    difference = trial.difference(moved, kinds)
    if not difference <= TOLERANCE:
        where = "" if trial.mode == "evaluation" else " in training mode"
        raise Broken(f"outputs change by {difference:.1e} of the largest{where}", "; ".join(_places(trial, kinds)))
    return difference


def _visible_part(outputs: Tensor, kinds: Sequence[str]) -> Tensor:
    """Centre the outputs if the kinds have the logit shift, since a task then does not see a common shift."""
    return outputs - outputs.mean(2, keepdim=True) if "logit_shift" in kinds else outputs


def _check_not_vacuous(trial: _Trial, kind: str) -> None:
    """Check that an action that leaves out all readers changes the outputs; otherwise nothing was tested."""
    case = trial.case
    writers = tuple(axis for axis in case.structure.axes if axis.exponent != -1)
    moved = trial.move(attrs.evolve(case.orbits, structure=attrs.evolve(case.structure, axes=writers)), [kind])
    if farthest(trial.weights, moved)[0] and torch.equal(case.outputs(moved, trial.inputs), trial.before):
        raise Vacuous("an action that leaves out all readers changes no output either: no signal reaches the outputs")


def _places(trial: _Trial, kinds: Sequence[str]) -> list[str]:
    """Find where a symmetry does not hold: the layers that write the units, and the axes that carry its labels."""
    found: list[str] = []
    structure, of = trial.case.structure, trial.case.orbits
    for kind, field in FIELDS.items():
        if kind not in kinds or not of.counts[kind]:
            continue
        for place, labels in unit_groups(of, kind).items():
            alone = orbits(only(structure, field, labels), shift_invariant=True)
            if not trial.difference(trial.move(alone, [kind]), [kind]) <= TOLERANCE:
                found.append(f"units of {place} ({_axes(structure.axes, field, labels)})")
            if len(found) == PLACES:
                return found
    return found or [f"kind '{kinds[0]}'" if len(kinds) == 1 else "only all kinds together"]


def _axes(axes: Sequence[Axis], field: Field, labels: Set[int]) -> str:
    """Name the axes that carry some labels, as a user finds them in the module."""
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
    """Test a law without the target's casts to lower precision, as `run_exactly` does."""

    def held(case: TargetCase, draw: Draw) -> str | None:
        with DoublePrecision():
            return holds(case, draw)

    return held


LAWS = (
    Law(
        name="spec_describes_module",
        text="weights, the module's parameters and state_dicts are each other's inverses, bit for bit",
        cause="a parameter that two layers claim, rows that overlap, or axes in another order than the parameter's",
        holds=_describes,
        examples=1,
    ),
    Law(
        name="batch_equals_modules",
        text="the forward pass of a batch has the outputs of each network's module, the same every time",
        cause="a forward that keeps state, draws random numbers in evaluation mode, or branches on values",
        holds=_precisely(_runs),
        examples=1,
    ),
    Law(
        name="gradients_are_finite",
        text="in training mode every layer of every network has a finite gradient",
        cause="a square root or logarithm of zero, or a layer that the spec claims and the module does not use",
        holds=_precisely(_trains),
        examples=1,
    ),
    Law(
        name="every_parameter_matters",
        text="every generated parameter changes some output",
        cause="a layer that the forward pass never calls, such as an auxiliary head",
        holds=_precisely(_matters),
        examples=1,
    ),
    _law_of(
        "scaling",
        "multiplying the writers of units by positive factors and dividing their readers by them changes no output",
        "a reader or tied writer left out, an operation declared as ReLU that is not positively homogeneous (GELU, "
        "tanh), or a factor claimed across a gate",
    ),
    _law_of(
        "sign",
        "changing the signs of units in their writers and readers changes no output",
        "an operation between them that is not odd: max-pooling behind a tanh, a ReLU, a sigmoid",
    ),
    _law_of(
        "normalisation",
        "factors of kernels and shifts of biases before a normalisation change no output",
        "a normalisation over other axes than the layer's filters, or a second reader before it",
    ),
    _law_of(
        "norm_sign",
        "changing the signs of a kernel and of the scale of the normalisation behind it changes no output",
        "a scale that belongs to another layer's normalisation",
    ),
    _law_of(
        "permutation",
        "exchanging units of one space in all that writes and reads them changes no output",
        "a tie (residual sum, shared weight) or reader left out, parts of a concatenation in another order, or a "
        "flattened axis that is read in another order",
    ),
    _law_of(
        "logit_shift",
        "adding one vector to every row of the last layer changes no difference between outputs",
        "spec.logits names a layer whose outputs do not reach the end by means and reshapes alone",
    ),
    Law(
        name="all_together",
        text="a random element of the whole symmetry group changes no outputs, as the task sees them",
        cause="two symmetries that hold alone but not together, since they share a label",
        holds=lambda case, draw: _holds(KINDS, case, draw),
    ),
)
