"""Laws of targets: a spec describes its module, and the symmetries that follow from it, or were traced, hold."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hyperframe.exact import redrawn, run_exactly
from hyperframe.precision import DoublePrecision
from hyperframe.selfcheck import FIELDS, Field, only, unit_groups
from hyperframe.structure import Axis
from hyperframe.symmetry import KINDS, Orbits, apply_action, orbits, random_action
from hyperframe.target import Target
from hyperframe.testing.laws import Broken, Case, Draw, Law, Vacuous, farthest, relative
from hyperframe.types import Weights
from hyperframe.weights import from_state_dicts, pack, slice_weights, unpack

LARGE = 100_000
"""A target with more weights is tried on one example."""

HUGE = 30_000_000
"""A target with more weights is run one network at a time."""

TOLERANCE = 1e-6
"""Of outputs, relative to the largest. What does not hold is wrong by far more; norms amplify rounding."""

REDRAWN = 10
"""So often weights are drawn anew where outputs are not finite, or a normalisation sees a constant channel."""

PLACES = 3
"""So many places are named where a symmetry does not hold."""

CONSTANT = 1e-20
"""A channel with a smaller variance, relative to its squared mean, is constant but for rounding."""


class ConstantChannels(TorchFunctionMode):
    """Sees whether a normalisation over the batch gets a channel without variance, and blows up its rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm or func is F.instance_norm:
            others = [dim for dim in range(args[0].dim()) if dim != 1]
            variance, mean = torch.var_mean(args[0], others, correction=0)
            self.seen |= bool((variance <= CONSTANT * mean.square()).any())
        return func(*args, **(kwargs or {}))


class TargetCase(Case):
    """A target in float64, and its symmetries."""

    def __init__(self, target: Target) -> None:
        self.target = target.to("cpu", torch.float64)
        self.spec, self.structure = target.spec, target.structure
        self.large = self.spec.num_weights > LARGE
        self.several = 1 if self.spec.num_weights > HUGE else 2  # networks that are run together
        self.orbits = orbits(self.structure, shift_invariant=True)

    def outputs(self, weights: Weights, inputs: Tensor, *, own_epsilon: bool = False) -> Tensor:
        """What the module computes, with the statistics of the batch."""
        return run_exactly(self.target.module.eval(), self.spec, weights, inputs, own_epsilon=own_epsilon)

    def drawn(self, draw: Draw) -> tuple[Weights, Tensor, Tensor]:
        """Weights on which the outputs are finite, inputs, and these outputs.

        Where it can be had, no normalisation sees a constant channel: it would show rounding, not symmetries.

        Raises:
            Broken: outputs are finite on none of several draws.
        """
        rng = draw.rng()
        networks = 1 if self.large else draw.networks
        found = None
        for _ in range(REDRAWN):
            weights = redrawn(self.spec, networks, rng)
            inputs = torch.randn(draw.images, *self.spec.input_shape, generator=rng, dtype=torch.float64)
            with ConstantChannels() as channels:
                outputs = self.outputs(weights, inputs)
            if bool(outputs.isfinite().all()):
                found = weights, inputs, outputs
                if self.large or not channels.seen:
                    break
        if found is None:
            raise Broken("outputs are not finite on random weights of the usual size")
        return found


def _describes(case: TargetCase, draw: Draw) -> None:
    """Weights, parameters and state_dicts are each other's inverses, bit for bit."""
    spec, target = case.spec, case.target
    weights = redrawn(spec, case.several, draw.rng())
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
    weights = redrawn(case.spec, count, draw.rng())
    inputs = torch.randn(draw.images, *case.spec.input_shape, generator=draw.rng(), dtype=torch.float64)
    kept = inputs.clone()
    outputs = target.forward(weights, inputs, shared=True)
    expected = (count, draw.images, case.spec.num_outputs)
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
    weights = redrawn(case.spec, case.several, draw.rng())
    leaves = {layer: value.requires_grad_() for layer, value in weights.items()}
    shape = (case.several, draw.images, *case.spec.input_shape)
    inputs = torch.randn(shape, generator=draw.rng(), dtype=torch.float64)
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
        weights = redrawn(case.spec, 1, rng)
        unpacked = {name: value.requires_grad_() for name, value in unpack(case.spec, weights).items()}
        inputs = torch.randn(draw.images, *case.spec.input_shape, generator=rng, dtype=torch.float64)
        outputs = case.target.run(unpacked, inputs, shared=True)
        probe = torch.randn(outputs.shape, generator=rng, dtype=torch.float64)
        found = torch.autograd.grad((outputs * probe).sum(), list(unpacked.values()), allow_unused=True)
        for name, gradient in zip(unpacked, found, strict=True):
            if gradient is not None and bool(gradient.any()):
                silent.discard(name)
        if not silent:
            return
    raise Broken("no output changes with it", f"parameter '{min(silent)}'")


def _holds(kinds: Sequence[str], case: TargetCase, draw: Draw) -> str:
    """Actions of some kinds change no output but by rounding."""
    of = case.orbits
    if not any(of.counts[kind] for kind in kinds):
        raise Vacuous("the target has no such symmetry")
    weights, inputs, before = case.drawn(draw)
    action = random_action(of, len(before), draw.rng(), kinds=kinds, exponents=draw.exponents)
    moved = apply_action(of, action, weights)
    if farthest(weights, moved)[0] == 0:
        raise Vacuous("the drawn action moves nothing")
    after = case.outputs(moved, inputs)
    difference = relative(_seen(before, kinds), _seen(after, kinds))
    if not difference <= TOLERANCE:
        where = "; ".join(_places(case, kinds, weights, inputs, before, draw))
        raise Broken(f"outputs change by {difference:.1e} of the largest", where)
    note = "outputs equal bit for bit" if torch.equal(before, after) else f"outputs within {difference:.0e}"
    if len(kinds) > 1:
        pair = (case.outputs(these, inputs, own_epsilon=True) for these in (weights, moved))
        own = relative(*(_seen(outputs, kinds) for outputs in pair))
        return f"{note}; with the norms' own epsilons within {own:.0e}"
    if kinds[0] in ("scaling", "sign", "permutation") and not case.large:
        _not_vacuous(case, kinds[0], weights, inputs, before, draw)
    return note


def _seen(outputs: Tensor, kinds: Sequence[str]) -> Tensor:
    """What a task sees of the outputs that does not see a common shift."""
    return outputs - outputs.mean(-1, keepdim=True) if "logit_shift" in kinds else outputs


def _not_vacuous(case: TargetCase, kind: str, weights: Weights, inputs: Tensor, before: Tensor, draw: Draw) -> None:
    """An action that forgets all readers must be seen in the outputs; otherwise nothing was tried."""
    writers = tuple(axis for axis in case.structure.axes if axis.exponent != -1)
    broken = attrs.evolve(case.orbits, structure=attrs.evolve(case.structure, axes=writers))
    action = random_action(broken, len(before), draw.rng(), kinds=[kind], exponents=draw.exponents)
    moved = apply_action(broken, action, weights)
    if farthest(weights, moved)[0] and torch.equal(case.outputs(moved, inputs), before):
        raise Vacuous("an action that forgets all readers changes no output either: no signal reaches the outputs")


def _places(
    case: TargetCase, kinds: Sequence[str], weights: Weights, inputs: Tensor, before: Tensor, draw: Draw
) -> list[str]:
    """Where a symmetry does not hold: the layers that write the units, and the axes that its labels sit on."""
    found: list[str] = []
    for kind, field in FIELDS.items():
        if kind not in kinds or not case.orbits.counts[kind]:
            continue
        for place, labels in unit_groups(case.orbits, kind).items():
            of = orbits(only(case.structure, field, labels), shift_invariant=True)
            if _broken(case, of, kind, weights, inputs, before, draw):
                found.append(f"units of {place} ({_axes(case.structure.axes, field, labels)})")
            if len(found) == PLACES:
                return found
    return found or [f"kind '{kinds[0]}'" if len(kinds) == 1 else "only all kinds together"]


def _broken(
    case: TargetCase, of: Orbits, kind: str, weights: Weights, inputs: Tensor, before: Tensor, draw: Draw
) -> bool:
    action = random_action(of, len(before), draw.rng(), kinds=[kind], exponents=draw.exponents)
    return not relative(before, case.outputs(apply_action(of, action, weights), inputs)) <= TOLERANCE


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
