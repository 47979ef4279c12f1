"""A pretended CUDA device: PyTorch's fake tensors have the devices, and values are computed beside them on the CPU.

Inside `cuda()` a tensor that is made on "cuda", or moved there, is a fake one: every operation checks, as CUDA would,
that all its inputs are on one device. Values are computed on the CPU as well, so that programs which ask for them go
on. Operations that ask a device for values, or copy them between devices, are listed, since on CUDA the host waits for
them. Gradients cannot be computed like this, since autograd asks for the device itself.
"""

from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

MOVE = "aten._to_copy.default"
LISTS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}


class Rng(torch.Generator):
    """Random numbers of the CPU that say they lie on CUDA."""

    @property
    def device(self):
        return torch.device("cuda", 0)


def value_of(tensor):
    """Return the values of a tensor, on the CPU."""
    return tensor.value if isinstance(tensor, FakeTensor) else tensor


class _Values(TorchDispatchMode):
    """Computes values beside fake tensors, and lists operations that a host would wait for."""

    def __init__(self, fake):
        super().__init__()
        self.fake, self.waits = fake, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        try:
            result = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            result = None
            if "cuda" in {one.device.type for one in _tensors((args, kwargs))}:
                self.waits.append(f"{func} asks for values")
        with unset_fake_temporarily():
            on_cpu = {**tree_map(_unwrap, kwargs), **({"device": "cpu"} if kwargs.get("device") is not None else {})}
            values = func(*tree_map(_unwrap, args), **on_cpu)
        if result is None:
            place = next(one.device for one in _tensors((args, kwargs)))
            result = tree_map(lambda one: self._fake(one, place), values)
        for one, value in zip(_tensors(result), _tensors(values), strict=True):
            # Of a batch normalisation in evaluation the CPU gives no moments, and CUDA does.
            one.value = value if value.shape == one.shape else value.new_zeros(one.shape)
        # A single number of the CPU is an argument of the operation, as a number of Python is.
        together = [one for one in _tensors((args, kwargs, result)) if one.dim() or one.is_cuda or str(func) == MOVE]
        places = {one.device.type for one in together}
        if len(places) > 1:
            self.waits.append(f"{func} has tensors on {' and '.join(sorted(places))}")
        return result

    def _fake(self, value, place):
        if not isinstance(value, Tensor):
            return value
        with self.fake:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=place)


class _Lists(TorchFunctionMode):
    """Values of fake tensors where a program wants them as lists or arrays."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func not in LISTS or not isinstance(args[0], FakeTensor):
            return func(*args, **(kwargs or {}))
        if args[0].device.type == "cuda":
            if func is not Tensor.tolist:
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            self.waits.append("tolist asks for values")
        with unset_fake_temporarily():
            return getattr(args[0].value, func.__name__)(*args[1:], **(kwargs or {}))


@contextmanager
def cuda():
    """Pretend that there is a device "cuda"; yields the list of operations that a host would wait for."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    values = _Values(fake)
    with torch.backends.cudnn.flags(enabled=False), fake, values, _Lists(values.waits):  # has no values on the CPU
        yield values.waits


def move(thing):
    """Move a tensor, a mapping of tensors, or a module with parameters and buffers to the pretended device."""
    if isinstance(thing, nn.Module):
        for part in thing.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[name] = nn.Parameter(move(parameter.detach()), parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = move(buffer)
        return thing
    if isinstance(thing, dict):
        return {name: move(value) for name, value in thing.items()}
    return thing.to("cuda")


def _unwrap(one):
    return value_of(one) if isinstance(one, Tensor) else one


def _tensors(tree):
    found = []
    tree_map(lambda one: found.append(one) if isinstance(one, Tensor) else None, tree)
    return found
