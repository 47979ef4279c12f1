"""Networks as the symmetries have them: in float64 throughout, with the batch's statistics, and no epsilon in a norm.

An epsilon in a normalisation breaks its symmetries by a little, stored statistics break them altogether; whether a
symmetry holds is therefore tried without either.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from hyperframe.precision import DoublePrecision
from hyperframe.spec import TargetSpec
from hyperframe.types import Weights
from hyperframe.weights import unpack

EPSILON = 1e-100
"""What stands in for zero, which torch's normalisations refuse."""

_EPSILON_AT = {F.batch_norm: 7, F.instance_norm: 7, F.layer_norm: 4, F.group_norm: 4, F.rms_norm: 3}


class ExactNorms(TorchFunctionMode):
    """Within it every normalisation takes the statistics of what it sees, and has no epsilon.

    Args:
        own_epsilon: leave each normalisation its epsilon.
    """

    def __init__(self, own_epsilon: bool = False) -> None:
        super().__init__()
        self.own_epsilon = own_epsilon

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, normalisations with other arguments."""
        kwargs = dict(kwargs or {})
        if func in _EPSILON_AT:
            place = _EPSILON_AT[func]
            own = args[place] if len(args) > place else kwargs.get("eps")
            args = list(args[:place])
            if func is F.batch_norm or func is F.instance_norm:
                names = ["running_mean", "running_var", "weight", "bias"]
                given = dict(zip(names, args[1:5], strict=False)) | {
                    key: kwargs.get(key) for key in names if key in kwargs
                }
                args = [args[0]]
                kwargs = {"weight": given.get("weight"), "bias": given.get("bias")}
                if func is F.batch_norm:
                    kwargs |= {"running_mean": None, "running_var": None, "training": True}
            kwargs |= {"eps": EPSILON} if not self.own_epsilon else {} if own is None else {"eps": own}
        return func(*args, **kwargs)


def exact_copy(module: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode, so that nothing is dropped."""
    return copy.deepcopy(module).double().eval()


def run_exactly(
    module: nn.Module, spec: TargetSpec, weights: Weights, inputs: Tensor, *, own_epsilon: bool = False
) -> Tensor:
    """Outputs [batch, items, outputs] of each weight set on the same inputs, without epsilons; a graph leads to them.

    Args:
        module: an `exact_copy`.
        spec: its spec.
        weights: for each layer float64 [batch, filters, filter_size].
        inputs: float64 [items, *input_shape].
        own_epsilon: leave the norms their epsilons.
    """
    unpacked = unpack(spec, weights)
    first = next(iter(unpacked.values()))
    outputs = []
    differentiable = any(theta.requires_grad for theta in weights.values())
    with torch.set_grad_enabled(differentiable), ExactNorms(own_epsilon), DoublePrecision():
        for network in range(len(first)):
            own: Mapping[str, Tensor] = {name: value[network] for name, value in unpacked.items()}
            outputs.append(functional_call(module, dict(own), (inputs,)))
    return torch.stack(outputs)


def redrawn(spec: TargetSpec, batch: int, rng: torch.Generator, dtype: torch.dtype = torch.float64) -> Weights:
    """Draw weights that keep signals at about one size: for each layer [batch, filters, filter_size].

    Initial weights would make trials empty: many a network begins with a zero layer. All entries are normal with mean
    0, a kernel's with variance 2 / fan_in, all others' with variance 1.
    """
    weights = {}
    for layer in spec.layers:
        theta = torch.randn(batch, layer.filters, layer.filter_size, generator=rng, dtype=dtype)
        if layer.fan_in:
            theta[:, :, layer.columns["kernel"]] *= (2 / layer.fan_in) ** 0.5
        weights[layer.name] = theta
    return weights
