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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hyperframe.errors import SpecError, brief
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
    try:
        return copy.deepcopy(module).cpu().float().eval()
    # The module's own code, and that of all it holds, may raise anything here.
    except Exception as error:
        raise SpecError(f"{where}: the module cannot be copied: {type(error).__name__}: {brief(error)}") from error


def count_outputs(module: nn.Module, shape: tuple[int, ...], where: str) -> int:
    """The number of outputs, once the module has run on inputs of this shape, in evaluation and in training."""
    found = 0
    for mode in ("evaluation", "training"):
        try:
            with torch.no_grad(), seeded(0, "trying a module out"):
                outputs = copy.deepcopy(module).train(mode == "training")(torch.randn(IMAGES, *shape))
        # The module's own code may raise anything.
        except Exception as error:
            raise SpecError(
                f"{where}: it does not run on inputs of shape {shape} ({mode} mode, float32): {type(error).__name__}: "
                f"{brief(error)}"
            ) from error
        if not isinstance(outputs, Tensor):
            raise SpecError(
                f"{where}: its forward must return one tensor, not {type(outputs).__name__} ({mode} mode); leave "
                "auxiliary heads out"
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
            first = brief(error)
            dependent = "data-dependent" in str(error).lower() or "GuardOnDataDependent" in type(error).__name__
            why = "it decides by values that it computes" if dependent else first
            hint = " (torch.where, or a spec of its own, does without)" if dependent else ""
            raise SpecError(
                f"{where}: it cannot be traced: {why}{hint}; see docs/target.md for a written spec"
            ) from None


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
