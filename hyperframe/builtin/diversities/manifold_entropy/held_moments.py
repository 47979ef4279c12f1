"""A generator whose batch normalisations hold the statistics of one batch fixed, so that it maps each z by itself."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from hyperframe import Weights


class HeldMoments:
    """A generator's map from z to weights with the batch normalisations' moments held at those of one batch.

    In training mode batch normalisation couples the networks of a batch, so that the generator is no map of a single z.
    With the batch's moments as constants it is one, row by row, for any number of rows. Gradients still pass through
    the moments to the parameters. Normalisations that use running moments, as in evaluation mode, are left as they are.
    The generator's buffers, such as running moments, do not change.

    Args:
        generator: calls `torch.nn.functional.batch_norm` for its batch normalisations, as torch's modules do.
        z: the batch [networks, …].

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(1, affine=False, eps=1e-12).double()
        >>> held = HeldMoments(norm, torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
        >>> held(torch.tensor([[3.0]], dtype=torch.float64))
        tensor([[3.0000]], dtype=torch.float64)
    """

    def __init__(self, generator: nn.Module, z: Tensor) -> None:
        self._generator = generator
        recorder = _Moments([], record=True)
        self._call(z, recorder)
        self._moments = recorder.moments

    def __call__(self, z: Tensor) -> Weights:
        """Return the weights of latent vectors [rows, …], each row by itself."""
        weights: Weights = self._call(z, _Moments(self._moments, record=False))
        return weights

    def _call(self, z: Tensor, mode: "_Moments") -> Any:
        copies = {name: value.clone() for name, value in self._generator.named_buffers()}
        with mode:
            return functional_call(self._generator, copies, (z,))


class _Moments(TorchFunctionMode):
    """Replaces calls of batch normalisation: records their moments, or uses those recorded, in the order of calls."""

    def __init__(self, moments: list[tuple[Tensor, Tensor]], *, record: bool) -> None:
        super().__init__()
        self.moments = moments
        self._record = record
        self._place = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        return self._normalise(*args, **(kwargs or {}))

    def _normalise(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        if self._record:
            axes = [axis for axis in range(x.dim()) if axis != 1]
            self.moments.append((x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)))
            mean, variance = self.moments[-1]
        else:
            mean, variance = self.moments[self._place]
            self._place += 1
        shape = [1, -1, *[1] * (x.dim() - 2)]
        normalised = (x - mean) * (variance + eps).rsqrt()
        if weight is not None:
            normalised = normalised * weight.view(shape)
        return normalised if bias is None else normalised + bias.view(shape)
