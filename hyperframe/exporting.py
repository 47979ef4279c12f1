"""A module checked, tried out, and exported to a graph of operations.

Exporting sets what belongs to the whole process (torch's own state, loggers, warnings, the standard streams), so one
thread does it at a time.
"""

import copy
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hyperframe.errors import SpecError, brief, described, others_code
from hyperframe.remedies import of_failure, of_inputs, of_outputs
from hyperframe.seeds import seeded

IMAGES = 2
"""Inputs that a module is traced with."""

_ALONE = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """One thread at a time, with float32 and the CPU as torch's defaults, whatever they are outside."""
    with _ALONE, ExitStack() as stack:
        if torch.get_default_dtype() != torch.float32:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        yield


def check_parameters(module: nn.Module, where: str) -> None:
    """Raise a SpecError, which begins with `where`, for a parameter that cannot be generated."""
    for key, value in module.named_parameters():
        if is_lazy(value):
            raise SpecError(f"{where}: parameter '{key}' has no shape yet; run the module on an input first")
        if not value.numel():
            raise SpecError(f"{where}: parameter '{key}' has the shape {tuple(value.shape)}, hence no weights at all")
        if value.dim() == 0:
            raise SpecError(f"{where}: parameter '{key}' is a number without an axis; give it the shape (1,)")
        if not value.is_floating_point():
            raise SpecError(f"{where}: parameter '{key}' is {value.dtype}; only real floating-point ones are generated")


def prepared(module: nn.Module, where: str) -> nn.Module:
    """A copy in evaluation mode, float32 and on the CPU, as it will be trained."""
    with others_code(lambda error: SpecError(f"{where}: the module cannot be copied: {described(error)}")):
        return copy.deepcopy(module).cpu().float().eval()


def _fails(module: nn.Module, where: str, on: str, error: BaseException) -> SpecError:
    return SpecError(f"{where}: {of_inputs(module) or f'it does not run on inputs of shape {on}: {described(error)}'}")


def count_outputs(module: nn.Module, shape: tuple[int, ...], where: str) -> int:
    """The number of outputs, once the module has run on inputs of this shape, in evaluation and in training."""
    found = 0
    for mode in ("evaluation", "training"):
        with (
            others_code(partial(_fails, module, where, f"{shape} ({mode} mode, float32)")),
            torch.no_grad(),
            seeded(0, "trying a module out"),
        ):
            outputs = copy.deepcopy(module).train(mode == "training")(torch.randn(IMAGES, *shape))
        if not isinstance(outputs, Tensor):
            raise SpecError(
                f"{where}: its forward must return one tensor, not {type(outputs).__name__} ({mode} mode); "
                f"{of_outputs(outputs)}"
            )
        if outputs.dim() != 2 or len(outputs) != IMAGES or not outputs.is_floating_point():
            raise SpecError(
                f"{where}: its outputs for {IMAGES} inputs are {outputs.dtype} {list(outputs.shape)}, must be real "
                f"numbers [{IMAGES}, outputs]"
            )
        found = outputs.shape[1]
    return found


def exported(module: nn.Module, shape: tuple[int, ...], where: str) -> Any:
    """The module's graph of operations, for inputs of this shape."""
    inputs = torch.randn(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    with _quiet():
        try:
            return torch.export.export(module, (inputs,), strict=False).run_decompositions({})
        # Whatever torch raises about other people's code.
        except Exception as error:  # noqa: BLE001
            why = of_failure(error) or f"{brief(error)}; see docs/target.md for a written spec"
            raise SpecError(f"{where}: it cannot be traced: {why}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch prints about a graph that fails."""
    loggers = [logging.getLogger(key) for key in list(logging.root.manager.loggerDict) if key.startswith("torch")]
    before = [(logger, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, disabled in before:
            logger.disabled = disabled
