"""What a module does, found by trying a copy of it out on a few inputs."""

import copy
import math
from collections.abc import Collection
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hyperframe.convolution import GreyConvolutions, channels_last
from hyperframe.seeds import seeded

PROBED = 2
"""Inputs that a module is tried out on; some refuse a single one."""

PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""Types of attributes that can be compared without calling anything of a module's own."""


def allows_any_layout(module: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Whether a module gives the same for activations that lie channels last; one that calls `view` does not.

    Example:
        >>> allows_any_layout(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 4, 4))
        True
    """
    module = copy.deepcopy(module)
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    inputs, outputs, same = _inputs(module, input_shape), [], False
    # Other people's code may raise anything here; what it raises in its usual layout shows where it runs in that.
    with suppress(Exception), seeded(0, "layout", inputs.device), torch.no_grad():
        inputs.normal_()
        for laid_out, mode in ((parameters, nullcontext()), (channels_last(parameters), GreyConvolutions())):
            with mode, seeded(0, "layout", inputs.device):
                outputs.append(functional_call(module.eval(), laid_out, (inputs,)))
                functional_call(module.train(), laid_out, (inputs,))
        same = torch.allclose(outputs[0], outputs[1], rtol=1e-3, atol=1e-5, equal_nan=True)
    return same


def count_activations(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """The numbers in one input and in what a module's parts make of it, as far as they are modules themselves.

    Example:
        >>> count_activations(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), (3,))
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
    inputs = _inputs(module, input_shape)
    # An estimate must not stop anything: a module that fails here fails with a message where it is run.
    with suppress(Exception), seeded(0, "activations", inputs.device), torch.no_grad():
        module(inputs)
    return math.prod(input_shape) + math.ceil(total / PROBED)


def keeps_nothing(module: nn.Module, input_shape: tuple[int, ...], ignored: Collection[str]) -> bool:
    """Whether a module's passes in training mode leave nothing behind on which later ones might depend.

    They neither draw random numbers, as a dropout does, nor change buffers or plain attributes of the module. Such
    passes may run in any order, and at the same time.

    Args:
        module: is copied, and stays as it is.
        input_shape: of one input.
        ignored: names of buffers that may change.

    Example:
        >>> keeps_nothing(nn.Linear(3, 5), (3,), ignored=()), keeps_nothing(nn.Dropout(), (3,), ignored=())
        (True, False)
    """
    if any(isinstance(value, torch.Generator) for part in module.modules() for value in vars(part).values()):
        return False
    module, numbers = copy.deepcopy(module).train(), torch.get_rng_state()
    buffers = {name: value.clone() for name, value in module.named_buffers() if name not in ignored}
    plain = _plain(module)
    # What other people's code raises here, it raises with a message where it is run.
    with suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
        module(_inputs(module, input_shape))
        after = dict(module.named_buffers())
        return (
            torch.equal(torch.get_rng_state(), numbers)
            and plain == _plain(module)
            and {*buffers} == {*after} - {*ignored}
            and all(torch.equal(value, after[name]) for name, value in buffers.items())
        )
    return False


def _plain(module: nn.Module) -> list[dict[str, Any]]:
    return [{key: value for key, value in vars(part).items() if isinstance(value, PLAIN)} for part in module.modules()]


def _inputs(module: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """Zeros, on the module's device and in its precision."""
    first = next(value for value in module.parameters() if value.is_floating_point())
    return first.new_zeros(PROBED, *input_shape)
