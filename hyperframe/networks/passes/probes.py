"""Properties of a module, found by trying a copy of it on a few inputs."""

import copy
import math
import numbers
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from hyperframe.errors import Forgiven
from hyperframe.networks.passes.convolution import GreyConvolutions, channels_last
from hyperframe.networks.passes.trunk import NO_TRUNK, Trunk
from hyperframe.runtime.rng import random_states, repeatable, seeded

PROBED = 2
"""Inputs that a module is tried out on; some refuse a single one."""


def allows_any_layout(module: nn.Module, inputs: Tensor) -> bool:
    """Whether a module gives the same for activations that lie channels last; one that calls `view` does not.

    Args:
        module: is copied, and stays as it is.
        inputs: on which it is tried out [examples, *input_shape].

    Example:
        >>> allows_any_layout(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(2, 1, 4, 4))
        True
    """
    module = copy.deepcopy(module)
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    outputs = []
    # Other people's code may raise anything here; what it raises in its usual layout shows where it runs in that.
    quiet = torch.autocast(inputs.device.type, enabled=False)  # the caller's would round more than is allowed here
    with Forgiven(), seeded(0, "layout", inputs.device), torch.no_grad(), quiet:
        for laid_out, mode in ((parameters, nullcontext()), (channels_last(parameters), GreyConvolutions())):
            with mode, seeded(0, "layout", inputs.device):
                outputs.append(functional_call(module.eval(), laid_out, (inputs,)))
                functional_call(module.train(), laid_out, (inputs,))
        return torch.allclose(outputs[0], outputs[1], rtol=1e-3, atol=1e-5, equal_nan=True)
    return False


def count_activations(module: nn.Module, inputs: Tensor) -> int:
    """The numbers in one input and in what a module's parts make of it, as far as they are modules themselves.

    Args:
        module: is copied, and stays as it is.
        inputs: on which it is tried out [examples, *input_shape].

    Example:
        >>> count_activations(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), torch.rand(2, 3))
        13
    """
    total = 0

    def count(part: nn.Module, inputs: Any, outputs: Any) -> None:
        nonlocal total
        if not list(part.children()):
            found = outputs if isinstance(outputs, tuple | list) else (outputs,)
            total += sum(value.numel() for value in found if isinstance(value, Tensor))

    module = copy.deepcopy(module).eval()
    for part in module.modules():
        part.register_forward_hook(count)
    # An estimate must not stop anything: a module that fails here fails with a message where it is run.
    with Forgiven(), seeded(0, "activations", inputs.device), torch.no_grad():
        module(inputs)
    return inputs[0].numel() + math.ceil(total / len(inputs))


def draws_numbers(run: Callable[[], object], device: torch.device | str = "cpu") -> bool:
    """Whether a call draws from global random numbers: of torch, of a device, of Python or of NumPy.

    Example:
        >>> draws_numbers(lambda: torch.rand(2)), draws_numbers(lambda: torch.ones(2))
        (True, False)
    """
    with repeatable(device):
        before = random_states(device)
        run()
        return before != random_states(device)


def keeps_nothing(
    module: nn.Module,
    inputs: Tensor,
    ignored: Collection[str],
    trunk: Trunk = NO_TRUNK,
) -> bool:
    """Whether a module's passes in training mode leave nothing behind on which later ones might depend.

    They neither draw random numbers, as a dropout does, nor change buffers, or numbers and text among the module's
    attributes. Such passes may run in any order, and at the same time.

    Args:
        module: is copied, and stays as it is.
        inputs: on which it is tried out [examples, *input_shape].
        ignored: names of buffers that may change.
        trunk: its parts stay in evaluation mode.

    Example:
        >>> keeps_nothing(nn.Linear(3, 5), torch.rand(2, 3), ignored=())
        True
        >>> keeps_nothing(nn.Sequential(nn.Linear(3, 5), nn.Dropout()), torch.rand(2, 3), ignored=())
        False
    """
    copied = trunk.set_mode(copy.deepcopy(module), training=True)
    # What other people's code raises here, it raises with a message where it is run.
    with Forgiven(), repeatable():
        before, buffers = host_state([copied]), _buffers(copied, ignored)
        copied(inputs)
        after = _buffers(copied, ignored)
        same = buffers.keys() == after.keys() and all(map(torch.equal, buffers.values(), after.values()))
        return same and before == host_state([copied])
    return False


def draws_in_training(module: nn.Module, inputs: Tensor, trunk: Trunk = NO_TRUNK) -> bool:
    """Whether a module's passes in training mode draw from global random numbers, as a dropout does.

    Args:
        module: is copied, and stays as it is.
        inputs: on which it is tried out [examples, *input_shape], on its device.
        trunk: its parts stay in evaluation mode.

    Example:
        >>> draws_in_training(nn.Dropout().eval(), torch.ones(3)), draws_in_training(nn.Linear(3, 5), torch.ones(3))
        (True, False)
    """
    with Forgiven():  # what it raises here, it raises with a message where it is run
        return draws_numbers(partial(trunk.set_mode(copy.deepcopy(module), training=True), inputs), inputs.device)
    return False


def host_state(parts: Iterable[object]) -> list[Any]:
    """Take down global random numbers of the host, and numbers and text among attributes, as plain data.

    Args:
        parts: whose attributes; of modules those of all their modules.

    Example:
        >>> dropout = nn.Dropout(0.1)
        >>> before = host_state([dropout])
        >>> dropout.p = 0.2
        >>> host_state([dropout]) == before
        False
    """
    owners = [one for part in parts for one in (part.modules() if isinstance(part, nn.Module) else [part])]
    attributes = [{name: _plain(value) for name, value in getattr(one, "__dict__", {}).items()} for one in owners]
    return [*random_states("cpu"), attributes]


def unsteady(module: nn.Module, inputs: Tensor) -> str | None:
    """Why a module in evaluation mode is no function of its inputs, in words; None where nothing shows that.

    It must give the same again, also after a pass in training. Statistics of normalisations may change in that, since
    each network has its own.

    Args:
        module: in evaluation mode; it is copied, and stays as it is.
        inputs: that it is tried out on, [examples, *input_shape].

    Example:
        >>> unsteady(nn.Sequential(nn.Linear(3, 5), nn.Dropout()).eval(), torch.ones(2, 3))
        >>> class Noisy(nn.Module):
        ...     def forward(self, x):
        ...         return x + torch.rand(())
        >>> unsteady(nn.Sequential(nn.Linear(3, 5), Noisy()).eval(), torch.ones(2, 3))[:68]
        "in evaluation mode its part '1' (Noisy) draws random numbers, so tha"
    """
    copied, pythons, numpys = copy.deepcopy(module), random.getstate(), np.random.get_state()
    try:
        with seeded(0, "evaluation", inputs.device), torch.no_grad():
            first = copied(inputs.clone())  # some work on it in place
            if not _same(copied(inputs.clone()), first):
                return (
                    f"in evaluation mode {_culprit(copied, inputs)}, so that no two predictions agree; let that be in "
                    "training only, as nn.Dropout, F.dropout(x, p, training=self.training) or 'if self.training' do"
                )
            statistics = [(value, value.clone()) for value in _statistics(copied)]
            copied.train()(inputs.clone())
            for value, before in statistics:
                value.copy_(before)
            if not _same(copied.eval()(inputs.clone()), first):
                return (
                    f"in training mode {_culprit(copied.train(), inputs)}, on which its outputs in evaluation mode "
                    "depend; only the statistics of torch's BatchNorm and InstanceNorm are kept for each network: take "
                    "these, or leave it unchanged"
                )
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def _statistics(module: nn.Module) -> list[Tensor]:
    """The statistics of all normalisations."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    return [value for norm in norms for value in norm.buffers()]


def _culprit(module: nn.Module, inputs: Tensor) -> str:
    """The innermost part of a module that draws random numbers in a pass, or changes, in words."""
    found: list[str] = []
    begun: list[tuple[list[Any], dict[str, Tensor], int]] = []
    names = {part: name for name, part in module.named_modules()}
    passed_over = set(map(id, _statistics(module)))

    def kept(part: nn.Module) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in part.named_buffers() if id(value) not in passed_over}

    def enter(part: nn.Module, given: Any) -> None:
        begun.append((host_state([part]), kept(part), len(found)))

    def leave(part: nn.Module, given: Any, outputs: Any) -> None:
        state, buffers, before = begun.pop()
        if len(found) > before:
            return
        now = host_state([part])
        changed = [name for name, value in kept(part).items() if not torch.equal(value, buffers[name])]
        if state[:-1] != now[:-1]:
            what = "draws random numbers"
        elif changed:
            what = f"changes its buffer '{changed[0]}'"
        elif state != now:
            what = "changes what it holds"
        else:
            return
        where = f"part '{names[part]}'" if names[part] else "own forward"
        found.append(f"its {where} ({type(part).__name__}) {what}")

    handles = [part.register_forward_pre_hook(enter) for part in names]
    handles += [part.register_forward_hook(leave) for part in names]
    try:
        module(inputs.clone())
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else "something draws random numbers, or changes"


def _buffers(module: nn.Module, ignored: Collection[str]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.named_buffers() if name not in ignored}


def _plain(value: object) -> Any:
    """Numbers, text and generators' states in a value, however deep in lists and tables; None for all else."""
    if isinstance(value, numbers.Number | str | bytes):
        return value
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.get_state().tolist() if isinstance(value, torch.Generator) else None
