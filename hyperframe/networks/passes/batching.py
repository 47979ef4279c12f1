"""Functions that torch has no batched form of, made of those that it has."""

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode

from hyperframe.runtime.precision import as_autocast_does
from hyperframe.targets.recurrences import EQUATIONS, has_recurrences

_COUNTING = threading.Lock()
_QUIET: list[None] = []
"""An entry for each thread that is within `one_by_one_quietly`; what it sets is of the whole process."""


class BatchedForms(TorchFunctionMode):
    """Within it, weight_norm, embedding_bag and recurrent layers are made of what runs for many networks at once.

    Torch's own would run one network after the other and warn of it, or not at all.

    Example:
        >>> direction, factor = torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0]])
        >>> with BatchedForms():
        ...     torch._weight_norm(direction, factor, 0)
        tensor([[6., 8.]])
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what was called, or its batched form in its place."""
        return BATCHED.get(func, func)(*args, **(kwargs or {}))


class AutocastForms(TorchFunctionMode):
    """Within it and torch.autocast, layers of many networks are rounded as those of one are.

    `vmap` takes them apart before autocast sees them: into a convolution that it does not know on a CPU, which stays in
    float32, and into sums with biases in float32, so that all that follows is in float32, too. And it has no
    normalisation of rounded numbers with moments in float32; it is done in float32, and what it gives is rounded.

    Example:
        >>> kernels, images = torch.ones(3, 2, 1, 1, 1), torch.ones(3, 5, 1, 4, 4)
        >>> with torch.autocast("cpu", torch.bfloat16), AutocastForms():
        ...     torch.vmap(torch.conv2d)(images, kernels).dtype
        torch.bfloat16
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what was called, on rounded numbers."""
        kwargs = kwargs or {}
        if func in PRODUCTS:
            named = {name: as_autocast_does(value) for name, value in kwargs.items()}
            return func(*map(as_autocast_does, args), **named)
        if func in NORMS or (func in LAYER_NORMS and [*args, *kwargs.values()][0].device.type == "cpu"):
            return _in_float32(func, *args, **kwargs)
        return func(*args, **kwargs)


def _in_float32(norm: Callable[..., Tensor], input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    return norm(wide, *args, **kwargs).to(input.dtype)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    dims = list(range(v.dim())) if dim == -1 else [axis for axis in range(v.dim()) if axis != dim % v.dim()]
    normed: Tensor = v * (g / torch.linalg.vector_norm(v, dim=dims, keepdim=True))
    return normed


def _embedding_bag(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Sums, means or maxima of rows for bags of equal sizes, [bags, rows]; others as torch has them, one by one."""
    given = _BAG.bind(input, weight, *args, **kwargs)
    given.apply_defaults()
    if input.dim() != 2:
        own: Tensor = nn.functional.embedding_bag(*given.args, **given.kwargs)
        return own
    options = given.arguments
    mode, left_out, factors = options["mode"], options["padding_idx"], options["per_sample_weights"]
    rows = nn.functional.embedding(input, weight)
    rows = rows if factors is None else rows * factors[..., None]
    if left_out is None:
        return rows.amax(1) if mode == "max" else rows.sum(1) if mode == "sum" else rows.mean(1)
    kept = (input != left_out % len(weight))[..., None]
    if mode == "max":
        most = torch.where(kept, rows, -torch.inf).amax(1)
        return torch.where(kept.any(1), most, 0.0)
    total = torch.where(kept, rows, 0.0).sum(1)
    return total if mode == "sum" else total / kept.sum(1).clamp(min=1)


_BAG = inspect.signature(nn.functional.embedding_bag)
BATCHED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch._weight_norm: _weight_norm,
    nn.functional.embedding_bag: _embedding_bag,
    **EQUATIONS,
}


PRODUCTS = frozenset(
    {
        *(torch.conv1d, torch.conv2d, torch.conv3d, nn.functional.linear, torch.addmm, torch.prelu),
        *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
    }
)
NORMS = frozenset({torch.batch_norm, nn.functional.batch_norm, torch.instance_norm, nn.functional.instance_norm})
LAYER_NORMS = frozenset({torch.layer_norm, nn.functional.layer_norm, torch.group_norm, nn.functional.group_norm})
"""On CUDA devices torch.autocast has these in float32 for one network, too."""


def has_batched_forms(module: nn.Module) -> bool:
    """Whether a module has parts that `BatchedForms` is for: parametrizations, embeddings of bags, recurrent layers."""
    kinds = ParametrizationList | nn.EmbeddingBag
    return has_recurrences(module) or any(isinstance(part, kinds) for part in module.modules())


@contextmanager
def many_at_once(device: torch.device, forms: bool) -> Iterator[None]:
    """Settings in which a module runs for many networks at once.

    Args:
        device: of the networks.
        forms: the module has parts for `BatchedForms`.
    """
    with ExitStack() as stack:
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(AutocastForms())
        if forms:
            stack.enter_context(BatchedForms())
        stack.enter_context(one_by_one_quietly())
        yield


@contextmanager
def one_by_one_quietly() -> Iterator[None]:
    """Without torch's warning, which asks to be reported to it, that an operation runs one network after the other.

    Example:
        >>> tables, bags, offsets = torch.ones(3, 5, 2), torch.tensor([0, 4]), torch.tensor([0])
        >>> with one_by_one_quietly():
        ...     torch.vmap(lambda table: nn.functional.embedding_bag(bags, table, offsets))(tables).shape
        torch.Size([3, 1, 2])
    """
    with _COUNTING:
        _QUIET.append(None)
        _warn_of_loops(False)
    try:
        yield
    finally:
        with _COUNTING:
            _QUIET.pop()
            if not _QUIET:
                _warn_of_loops(True)


def _warn_of_loops(wanted: bool) -> None:
    functorch: Any = torch._C._functorch
    functorch._set_vmap_fallback_warning_enabled(wanted)


def times_changed(x: Tensor) -> int:
    """Count how often a tensor was changed in place; 0 in inference mode, where torch does not count."""
    return 0 if x.is_inference() else x._version
