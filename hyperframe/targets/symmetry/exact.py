"""Networks in which symmetries hold exactly: in float64, with the batch's statistics, and no epsilon in a norm.

An epsilon in a normalisation breaks its symmetries by a little, stored statistics break them altogether; whether a
symmetry holds is therefore tried without either. What a symmetry must hold in are the two modes in which networks are
used: trained in training mode, where each pass draws random numbers, and evaluated in evaluation mode, with statistics
that are estimated for each network anew. Random numbers are the same before and after an action. Where units change
places, so would the numbers that each of them meets: it is enough that outputs keep their distribution, and that is
tried with numbers that all entries of one example share.
"""

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from hyperframe.runtime.rng import seeded
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.symmetry.precision import DoublePrecision
from hyperframe.targets.weights import unpack
from hyperframe.types import Weights

EPSILON = 1e-100
"""Stands in for an epsilon of zero, which torch's normalisations refuse."""

CONSTANT = 1e-20
"""A smaller variance, relative to the squared mean, is that of a constant but for rounding."""

Mode = Literal["evaluation", "training", "alike"]
"""How a network runs: as it is evaluated, as it is trained, or as it is trained with random numbers that all entries of
an example share."""

_ARGUMENTS = {
    F.batch_norm: "input running_mean running_var weight bias training momentum eps",
    F.instance_norm: "input running_mean running_var weight bias use_input_stats momentum eps",
    F.layer_norm: "input normalized_shape weight bias eps",
    F.group_norm: "input num_groups weight bias eps",
    F.rms_norm: "input normalized_shape weight eps",
}


class ExactNorms(TorchFunctionMode):
    """Within it no normalisation has an epsilon, and what it sees without variance it makes zero.

    Its own rounding would be blown up to the size of a signal there. Running moments are neither read nor updated where
    a normalisation takes the statistics of what it sees; one that takes given moments is left as it is.

    Args:
        own_epsilon: leave each normalisation its epsilon.
    """

    def __init__(self, own_epsilon: bool = False) -> None:
        super().__init__()
        self.own_epsilon = own_epsilon

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, normalisations with other arguments."""
        if func not in _ARGUMENTS:
            return func(*args, **(kwargs or {}))
        given = dict(zip(_ARGUMENTS[func].split(), args, strict=False)) | (kwargs or {})
        if func is F.batch_norm or func is F.instance_norm:
            if not (given.get("training", False) if func is F.batch_norm else given.get("use_input_stats", True)):
                return func(**given)
            given |= {"running_mean": None, "running_var": None}
        if not self.own_epsilon:
            given |= {"eps": EPSILON, "input": _without_rounding(func, given)}
        return func(**given)


def _without_rounding(func: Any, given: dict[str, Any]) -> Tensor:
    """Set the input of a normalisation to zero where it is constant but for rounding."""
    x: Tensor = given["input"]
    if func is F.rms_norm:  # no mean is taken away
        return x
    seen = x.reshape(len(x), given["num_groups"], -1) if func is F.group_norm else x
    if func is F.batch_norm:
        dims = [dim for dim in range(x.dim()) if dim != 1]
    elif func is F.layer_norm:
        dims = list(range(x.dim() - len(given["normalized_shape"]), x.dim()))
    else:
        dims = list(range(2, seen.dim()))
    variance, mean = torch.var_mean(seen, dims, correction=0, keepdim=True)
    constant = variance <= CONSTANT * mean.square()
    return torch.where(constant, 0.0, seen).reshape(x.shape) if bool(constant.any()) else x


class _Draws(TorchDispatchMode):
    """Sees whether random numbers are drawn, and where wanted gives all entries of an example the same one."""

    supports_higher_order_operators = True

    def __init__(self, examples: int, alike: bool) -> None:
        super().__init__()
        self.any, self._examples, self._alike = False, examples, alike

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in getattr(func, "tags", ()):
            return func(*args, **kwargs)
        self.any = True
        if self._alike and func.name().startswith("aten::rrelu"):  # what it returns are not its random slopes
            low, high = args[2:4]
            slopes = low + (high - low) * self._share(torch.rand_like(args[0]))
            result = torch.where(args[0] < 0, args[0] * slopes, args[0])
            return args[0].copy_(result) if func.name().endswith("_") else result
        result = func(*args, **kwargs)
        if self._alike and isinstance(result, Tensor) and result.is_floating_point():
            result.copy_(self._share(result))
        return result

    def _share(self, drawn: Tensor) -> Tensor:
        """Put the first number that was drawn for each example in the place of all others."""
        first = drawn.clone()
        for dim in range(drawn.dim()):
            if dim > 0 or len(drawn) != self._examples:
                first = first.narrow(dim, 0, min(1, drawn.shape[dim]))
        return first.expand_as(drawn)


def batch_norms(module: nn.Module) -> dict[str, Any]:
    """Find the normalisations that collect running moments in training, by name; others are constants of the module.

    A module may keep one in evaluation mode whatever mode it is in itself. It is left in training mode.
    """
    module.train()
    found = ((name, part) for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._NormBase))
    return {name: part for name, part in found if part.training and part.track_running_stats}


def running_moments(norms: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the buffers of normalisations, by their names in the module."""
    return {
        f"{name}.{own}" if name else own: value
        for name, norm in norms.items()
        for own, value in norm.named_buffers(recurse=False)
    }


def as_evaluated(module: nn.Module) -> dict[str, Any]:
    """Put a module into evaluation mode, but its `batch_norms`, which it returns: their moments are estimated anew."""
    norms = batch_norms(module)
    module.eval()
    for norm in norms.values():
        norm.train()
        if norm.momentum is None:  # a count would be read on the host; the moments are not used
            norm.momentum = 0.1
    return norms


def exact_copy(module: nn.Module) -> nn.Module:
    """Copy a module in float64."""
    return copy.deepcopy(module).double()


def run_exactly(
    module: nn.Module,
    spec: TargetSpec,
    weights: Weights,
    inputs: Tensor,
    *,
    own_epsilon: bool = False,
    mode: Mode = "evaluation",
) -> Tensor:
    """Run each weight set on the same inputs without epsilons: [batch, examples, outputs]; a graph leads to them.

    Args:
        module: in float64, such as an `exact_copy`; it is left in another mode, with its buffers as they are.
        spec: its spec.
        weights: for each layer float64 [batch, filters, filter_size].
        inputs: float64 [examples, *input_shape].
        own_epsilon: leave the norms their epsilons.
        mode: how it runs; random numbers are the same in every call, and for every network.
    """
    unpacked = unpack(spec, weights)
    first = next(iter(unpacked.values()))
    outputs = []
    differentiable = any(theta.requires_grad for theta in weights.values())
    norms = as_evaluated(module)
    if mode != "evaluation":
        module.train()
    with torch.set_grad_enabled(differentiable), ExactNorms(own_epsilon):
        for network in range(len(first)):
            own = {name: value[network] for name, value in unpacked.items()}
            outputs.append(_run(module, own, norms, inputs, mode)[0])
    return torch.stack(outputs)


def _run(
    module: nn.Module, own: dict[str, Tensor], norms: Mapping[str, nn.Module], inputs: Tensor, mode: Mode
) -> tuple[Tensor, bool]:
    """Outputs of a module that is in its mode, and whether it drew random numbers."""
    # What training changes is thrown away, so that every pass starts from the same state.
    buffers = running_moments(norms) if mode == "evaluation" else dict(module.named_buffers())
    copies = {name: value.clone() for name, value in buffers.items()}
    draws = _Draws(len(inputs), mode == "alike")
    with _same_numbers(), DoublePrecision(), nullcontext() if mode == "evaluation" else draws:
        return functional_call(module, {**copies, **own}, (inputs,)), draws.any


@contextmanager
def _same_numbers() -> Iterator[None]:
    """Draw the same random numbers every time, of torch, Python and numpy; their states come back as they were."""
    python, numpys = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        with seeded(0, "exact run"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpys)


def other_modes(
    module: nn.Module, spec: TargetSpec, weights: Weights, inputs: Tensor, evaluated: Tensor
) -> tuple[Mode, ...]:
    """Return the modes beside evaluation in which symmetries must be tried: those where the outputs are others.

    Args:
        module: in float64.
        spec: its spec.
        weights: of one network.
        inputs: float64 [examples, *input_shape].
        evaluated: the network's outputs in evaluation mode [1, examples, outputs].

    Example:
        >>> from hyperframe.targets.params import bias, kernel
        >>> from hyperframe.targets.spec import LayerSpec
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
        >>> layer = LayerSpec(name="fc", filters=2, params=[kernel("0.weight", "o i"), bias("0.bias")])
        >>> spec = TargetSpec(name="one", input_shape=(3,), num_outputs=2, layers=[layer]).bind(net)
        >>> weights, x = {"fc": torch.ones(1, 2, 4).double()}, torch.ones(5, 3).double()
        >>> other_modes(net.double(), spec, weights, x, run_exactly(net, spec, weights, x))
        ('training', 'alike')
    """
    norms = batch_norms(module)
    own = {name: value[0] for name, value in unpack(spec, weights).items()}
    with torch.no_grad(), ExactNorms():
        trained, random_numbers = _run(module, own, norms, inputs, "training")
    if random_numbers:
        return "training", "alike"
    return () if torch.equal(trained, evaluated[0]) else ("training",)


def redraw(spec: TargetSpec, batch: int, rng: torch.Generator, dtype: torch.dtype = torch.float64) -> Weights:
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
