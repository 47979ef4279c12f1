"""The trunk, which comes before any generated weight: it is the same for all networks, and runs once for them."""

import copy
import weakref
from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from hyperframe.errors import Forgiven
from hyperframe.networks.passes.batching import times_changed
from hyperframe.runtime.rng import random_states, repeatable, seeded

NUMBERS_REMEMBERED = 1 << 27
"""Numbers of a trunk's outputs that are remembered at most; in float32 512 MiB."""


@attrs.frozen(kw_only=True)
class Trunk:
    """The parts of a module that come before any generated parameter and have constants, or stand behind some.

    Attributes:
        parts: names of those that have constant parameters, and of all that they hold. They are always in evaluation
            mode, as trained networks are used: their normalisations have the moments that they have, and no dropout
            draws. One without parameters that stands for itself, before what is generated, does draw in training.
        whole: names of those to be remembered, and not of what they hold: they run once in a pass, give one tensor,
            draw nothing and collect nothing.
    """

    parts: frozenset[str] = frozenset()
    whole: tuple[str, ...] = ()

    def set_mode(self, module: nn.Module, training: bool) -> nn.Module:
        """Put a module into training or evaluation mode, but for these parts, which stay in evaluation."""
        module.train(training)
        for name in self.parts:
            module.get_submodule(name).training = False
        return module


NO_TRUNK = Trunk()
"""That of a module without constant parameters."""


def find_trunk(module: nn.Module, generated: Collection[str], inputs: Tensor) -> Trunk:
    """Find a module's trunk by running a copy of it: what depends on parameters is what has a gradient at them.

    Args:
        module: is copied, and stays as it is.
        generated: names of the parameters that are generated; all others are constant.
        inputs: on which it is tried out [examples, *input_shape].

    Returns:
        The trunk; an empty one where the module has no constant parameters, or does not run on the inputs.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> find_trunk(net, ["2.weight", "2.bias"], torch.rand(2, 3)).whole
        ('0', '1')
    """
    constant = [name for name, _ in module.named_parameters() if name not in generated]
    if not constant:
        return NO_TRUNK
    behind, of_generated = (_depending(module, names, inputs) for names in (constant, generated))
    free = [name for name in behind if name not in of_generated]
    holders = [name for name in free if any(True for _ in module.get_submodule(name).parameters())]
    parts = {name for name in free if any(f"{name}.".startswith(f"{holder}.") for holder in holders)}
    whole = [
        name
        for name in free
        if behind[name]
        and not any(name.startswith(f"{other}.") for other in free)
        and (name in parts or not list(module.get_submodule(name).buffers()))
    ]
    found = Trunk(parts=frozenset(parts), whole=tuple(whole))
    drawing = _drawing(module, found, inputs)
    found = attrs.evolve(found, whole=tuple(name for name in whole if name not in drawing))
    return found if _can_remember(module, found, inputs) else attrs.evolve(found, whole=())


def _drawing(module: nn.Module, trunk: Trunk, inputs: Tensor) -> set[str]:
    """Names of those parts of a trunk that draw random numbers in training."""
    copied, before, found = trunk.set_mode(copy.deepcopy(module), training=True), {}, set()

    def enter(name: str, part: nn.Module, given: Any) -> None:
        before[name] = random_states(inputs.device)

    def leave(name: str, part: nn.Module, given: Any, outputs: Any) -> None:
        if random_states(inputs.device) != before[name]:
            found.add(name)

    for name in trunk.whole:
        copied.get_submodule(name).register_forward_pre_hook(partial(enter, name))
        copied.get_submodule(name).register_forward_hook(partial(leave, name))
    with Forgiven(), repeatable(inputs.device), torch.no_grad():
        copied(inputs.clone())
    return found


def _can_remember(module: nn.Module, trunk: Trunk, inputs: Tensor) -> bool:
    """Whether passes that remember give what the first one gave.

    They do not where something works in place on what another operation has read before.
    """
    copied = trunk.set_mode(copy.deepcopy(module), training=True)
    memory = Memory(copied, trunk)
    found = []
    with Forgiven(), torch.no_grad():
        for source in (None, inputs, inputs, inputs):
            memory.begin(source)
            with seeded(0, "trunk", inputs.device):
                found.append(copied(inputs.clone() if source is None else inputs))
        return all(torch.equal(outputs, found[0]) for outputs in found)
    return False


def _depending(module: nn.Module, parameters: Iterable[str], inputs: Tensor) -> dict[str, bool]:
    """Names of the parts whose outputs, or inputs, depend on parameters; whether each runs once and gives a tensor."""
    copied = copy.deepcopy(module).eval().requires_grad_(False)
    for name, value in copied.named_parameters():
        value.requires_grad_(name in parameters and value.is_floating_point())
    runs: Counter[str] = Counter()
    found: dict[str, bool] = {}

    def leave(name: str, part: nn.Module, given: Any, outputs: Any) -> None:
        runs[name] += 1
        if name and any(value.requires_grad for value in [*_tensors(given), *_tensors(outputs)]):
            found[name] = isinstance(outputs, Tensor)

    for name, part in copied.named_modules():
        part.register_forward_hook(partial(leave, name))
    # What other people's code raises here, it raises with a message where it is run.
    with Forgiven(), seeded(0, "trunk", inputs.device), torch.enable_grad():
        copied(inputs)
    return {name: tensor and runs[name] == 1 for name, tensor in found.items()}


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [one for value in values for one in _tensors(value)] if isinstance(values, tuple | list) else []


class Memory:
    """Remembers what the trunk of one copy of a module made of the last inputs, while these inputs live.

    Args:
        module: the copy; parts of its trunk run through this from now on.
        trunk: which parts these are.
    """

    def __init__(self, module: nn.Module, trunk: Trunk) -> None:
        self._source: weakref.ref[Tensor] | None = None
        self._state: tuple[Any, ...] = ()
        self._kept: dict[str, tuple[Tensor, int]] = {}
        self._numbers = 0
        self._remembers = bool(trunk.whole)
        for name in trunk.whole:
            part = module.get_submodule(name)
            part.forward = partial(self._run, name, part.forward)

    def begin(self, x: Tensor | None) -> None:
        """Begin a pass on inputs that all networks see, or, with None, on others, of which nothing is remembered."""
        if x is None or not self._remembers or _is_followed(x):
            self._forget()
            return
        state = times_changed(x), torch.is_inference_mode_enabled(), _rounding(x.device.type)
        if self._source is None or self._source() is not x or state != self._state:
            self._forget()
            self._source, self._state = weakref.ref(x, self._forget), state

    def _forget(self, _: object = None) -> None:
        self._source, self._numbers = None, 0
        self._kept.clear()

    def _run(self, name: str, forward: Any, *given: Any, **named: Any) -> Any:
        if self._source is None:
            return forward(*given, **named)
        outputs, times = self._kept.get(name, (None, 0))
        if outputs is None or times_changed(outputs) != times:  # something worked on it in place
            outputs = forward(*given, **named)
            if self._numbers + outputs.numel() <= NUMBERS_REMEMBERED and not _is_followed(outputs):
                self._numbers += outputs.numel() * (name not in self._kept)
                for earlier, (kept, _) in self._kept.items():
                    if kept is outputs:  # this part works in place on what that one gave
                        self._kept[earlier] = outputs, times_changed(outputs)
                self._kept[name] = outputs, times_changed(outputs)
        return outputs


def _is_followed(x: Tensor) -> bool:
    """Whether something differentiates at a tensor, or runs it for many networks at once."""
    functorch: Any = torch._C._functorch
    return x.requires_grad or bool(functorch.is_functorch_wrapped_tensor(x))


def _rounding(device: str) -> torch.dtype | None:
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
