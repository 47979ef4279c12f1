"""A generator's groups of parameters, checked before an optimiser is made of them."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from hyperframe.errors import PluginError
from hyperframe.networks.generator import Generator

WHERE = "generator: parameter_groups"


def trained_groups(generator: Generator) -> list[tuple[float, list[nn.Parameter]]]:
    """List a generator's parts of the rate, each with those of its parameters that are trained.

    Raises:
        PluginError: its `parameter_groups` are no such pairs, or do not hold each parameter that is trained once.

    Example:
        >>> import torch
        >>> class Mean(Generator):
        ...     def __init__(self):
        ...         super().__init__(spec=None, dimension=1)
        ...         self.mean = nn.Parameter(torch.ones(2))
        >>> trained_groups(Mean())
        [(1.0, [Parameter containing:
        tensor([1., 1.], requires_grad=True)])]
        >>> Mean.parameter_groups = lambda self: [(1.0, [])]
        >>> trained_groups(Mean())
        Traceback (most recent call last):
        hyperframe.errors.PluginError: generator: parameter_groups lack 'mean', which would never be trained
    """
    names = {id(parameter): name for name, parameter in generator.named_parameters()}
    found, seen = [], set[int]()
    for part, parameters in _pairs(generator.parameter_groups()):
        if not (isinstance(part, int | float) and math.isfinite(part) and part > 0):
            raise PluginError(f"{WHERE} have {part!r} for a part of the rate, which must be a finite number above 0")
        for parameter in parameters:
            name = names.get(id(parameter))
            if name is None:
                shape = f" of shape {list(parameter.shape)}" if isinstance(parameter, nn.Parameter) else ""
                kind = type(parameter).__name__
                raise PluginError(f"{WHERE} have a {kind}{shape} that is none of the generator's parameters")
            if id(parameter) in seen:
                raise PluginError(f"{WHERE} have '{name}' more than once")
            seen.add(id(parameter))
        found.append((part, [parameter for parameter in parameters if parameter.requires_grad]))
    for parameter in generator.parameters():
        if parameter.requires_grad and id(parameter) not in seen:
            raise PluginError(f"{WHERE} lack '{names[id(parameter)]}', which would never be trained")
    return found


def _pairs(groups: Any) -> Iterable[tuple[float, list[nn.Parameter]]]:
    """Groups as pairs, whose second is a list that can be gone through twice."""
    try:
        return [(part, list(parameters)) for part, parameters in groups]
    except (TypeError, ValueError) as error:
        raise PluginError(f"{WHERE} must be a list of pairs (part of trainer.rate, [parameters])") from error
