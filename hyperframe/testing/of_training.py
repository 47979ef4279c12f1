"""Laws of generators in training: what is trained, by which optimiser, and what is held and kept afterwards."""

import copy
from typing import Any

import torch
from torch import Tensor

from hyperframe.config.sections import TrainerOptions
from hyperframe.errors import HyperframeError, PluginError
from hyperframe.networks.generator import Generator
from hyperframe.networks.groups import trained_groups
from hyperframe.targets.weights import slice_weights
from hyperframe.testing.laws import Broken, Draw, Law, farthest
from hyperframe.testing.of_generators import GeneratorCase, evaluate

STEPS = 3
"""How many steps a generator is trained for before its state is taken."""


def _state(case: GeneratorCase, draw: Draw) -> None:
    generator, z, _ = evaluate(case, draw)
    with torch.random.fork_rng(devices=[]):
        _train(generator)
    with torch.no_grad():
        weights = generator.eval()(z)
    other = case.make(Draw(seed=draw.seed + 1, widths=draw.widths))
    other.load_state_dict(copy.deepcopy(generator.state_dict()))
    with torch.no_grad():
        difference, layer = farthest(weights, other.eval()(z))
    if difference:
        raise Broken("another generator with the same state_dict gives other weights", f"layer '{layer}'")


def _trains(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw).train()
    z = generator.latent(case.several(generator, draw), draw.rng())
    weights = generator(z)
    penalty = generator.penalty(z, weights)
    if penalty is not None and (penalty.dim() or not bool(penalty.isfinite())):
        raise Broken(f"penalty must be a finite scalar or None, but is {penalty}")
    rng = draw.rng()
    total = torch.stack([(theta * torch.randn(theta.shape, generator=rng)).sum() for theta in weights.values()]).sum()
    (total if penalty is None else total + penalty).backward()
    for name, parameter in generator.named_parameters():
        if parameter.requires_grad and (parameter.grad is None or not bool(parameter.grad.isfinite().all())):
            raise Broken("the gradient is missing or not finite", f"parameter '{name}'")
    if not any(parameter.requires_grad for parameter in generator.parameters()):
        raise Broken("it has no parameters to train")
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-2 * parameter.grad.sign())
    generator.after_step(0, STEPS)
    if all(torch.equal(before[name], value) for name, value in generator.state_dict().items()):
        raise Broken("a step of its parameters changes nothing")


def _groups(case: GeneratorCase, draw: Draw) -> None:
    try:
        trained_groups(case.make(draw))
    except PluginError as error:
        raise Broken(str(error)) from error


def _optimiser(case: GeneratorCase, draw: Draw) -> None:
    generator, other = case.make(draw), case.make(draw)
    with torch.random.fork_rng(devices=[]):
        optimizer, again = _train(generator, STEPS - 1), _optimizer(other.train())
        for key, value in _entries(optimizer):
            if not isinstance(value, Tensor):
                raise Broken(f"the state '{key}' of its optimiser is {type(value).__name__}, and no tensor")
        other.load_state_dict(copy.deepcopy(generator.state_dict()))
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        before = copy.deepcopy([*generator.named_parameters(), *_entries(optimizer)])
        _move(generator, optimizer, stop=1.0)
        for (name, value), (_, now) in zip(before, [*generator.named_parameters(), *_entries(optimizer)], strict=True):
            if not torch.equal(value, now):
                raise Broken(f"its optimiser changes '{name}' where found_inf is 1")
        for one, two in ((generator, optimizer), (other, again)):
            _step(one, two, STEPS - 1)
    for name, value in other.state_dict().items():
        if not torch.equal(value, generator.state_dict()[name]):
            raise Broken("another optimiser with the same state takes another step", f"of '{name}'")


def _held(case: GeneratorCase, draw: Draw) -> None:
    generator = case.make(draw)
    with torch.random.fork_rng(devices=[]):
        _train(generator)
    if generator.networks_per_step is not None:
        generator.latent(generator.networks_per_step, draw.rng())
    held = generator.eval().networks
    if held is None:
        return
    z = generator.latent(held, draw.rng())
    if len(z) != held or len(z.unique(dim=0)) != held:
        raise Broken(f"it holds {held} networks, but draws {len(z.unique(dim=0))} different ones of {held}")
    with torch.no_grad():
        weights = generator(z)
    for number in range(1, held):
        pair = [slice_weights(weights, slice(place, place + 1)) for place in (number - 1, number)]
        if farthest(*pair)[0] == 0:
            raise Broken(f"two of the {held} networks that it holds are the same")
    try:
        generator.latent(held + 1, draw.rng())
    except HyperframeError:
        return
    raise Broken(f"it holds {held} networks, and draws one more without an error")


def _optimizer(generator: Generator) -> torch.optim.Optimizer:
    groups = [
        {"params": [value for value in values if value.requires_grad]} for _, values in generator.parameter_groups()
    ]
    return generator.make_optimizer(groups, TrainerOptions(steps=STEPS, schedule="cyclic", cycles=1))


def _entries(optimizer: torch.optim.Optimizer) -> list[tuple[str, Any]]:
    """All that an optimiser keeps, by names that may repeat."""
    return [pair for entry in optimizer.state.values() for pair in entry.items()]


def _move(generator: Generator, optimizer: torch.optim.Optimizer, stop: float = 0.0) -> None:
    for parameter in generator.parameters():
        parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
    optimizer.found_inf = torch.tensor(stop)  # type: ignore[attr-defined]
    optimizer.step()


def _step(generator: Generator, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Take a step as the trainer does, with gradients and noise that follow from the step's number."""
    torch.manual_seed(step)
    generator.before_step(step, STEPS)
    _move(generator, optimizer)
    generator.after_step(step, STEPS)


def _train(generator: Generator, steps: int = STEPS) -> torch.optim.Optimizer:
    optimizer = _optimizer(generator.train())
    for step in range(steps):
        _step(generator, optimizer, step)
    return optimizer


LAWS = (
    Law(
        name="state_is_complete",
        text="another generator with the same state_dict gives the same weights",
        cause="a tensor that is drawn in the constructor and is not registered as a buffer",
        holds=_state,
    ),
    Law(
        name="can_be_trained",
        text="every trainable parameter gets a finite gradient, and a step changes the state",
        cause="a parameter that no weight depends on, or a part that is detached",
        holds=_trains,
    ),
    Law(
        name="groups_are_all_parameters",
        text="parameter_groups has every parameter that is trained, each once, with a rate above 0",
        cause="a part that was added to the generator and to none of its groups",
        holds=_groups,
    ),
    Law(
        name="optimiser_stops_and_goes_on",
        text="the optimiser's state is tensors, a step where found_inf is 1 changes neither them nor parameters, and "
        "another optimiser with the same state takes the same next step",
        cause="an optimiser of torch that is not fused, or a number that it counts beside its state",
        holds=_optimiser,
    ),
    Law(
        name="holds_its_networks",
        text="after a training it draws each of `networks` different networks once, and no more; in training mode "
        "`networks_per_step`",
        cause="places for networks that were not collected yet, or a number that is not of the state it is in",
        holds=_held,
    ),
)
