"""A module checked, tried out, and exported to a graph of operations.

Exporting sets what belongs to the whole process (torch's own state, loggers, warnings, the standard streams), so one
thread does it at a time.
"""

import copy
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hyperframe.errors import DataError, HyperframeError, SpecError, brief, described, others_code
from hyperframe.runtime.rng import seeded
from hyperframe.targets.embeddings import Lookups, with_plain_gradients
from hyperframe.targets.recurrences import AsEquations
from hyperframe.targets.remedies import of_failure, of_inputs, of_outputs
from hyperframe.targets.trial_inputs import TrialInputs, are_whole, spread_examples

IMAGES = 2
"""Inputs that a module is traced with."""

FAR = 4.0
"""A module is tried on inputs this far from zero too, so that it does not take normal numbers by chance only."""

_ALONE = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Let one thread in at a time, with float32 and the CPU as torch's defaults, whatever they are outside."""
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


def prepare(module: nn.Module, where: str) -> nn.Module:
    """Copy a module, in evaluation mode, float32 and on the CPU, with the options that it will be trained with."""
    with others_code(lambda error: SpecError(f"{where}: the module cannot be copied: {described(error)}")):
        copied = copy.deepcopy(module).cpu().float().eval()
    with_plain_gradients(copied)
    return copied


def choose_inputs(
    module: nn.Module, shape: tuple[int, ...], data: Callable[[], Tensor] | None, where: str
) -> tuple[TrialInputs, tuple[int, ...]]:
    """Choose inputs to try a module out on, normal numbers or examples of data, and return its outputs' shape as well.

    Normal numbers are of one size whatever the data are like, so that more is seen on them. Examples stand in their
    place where the module does not run on them, or where it looks rows up by what are whole numbers in the data.

    Args:
        module: a copy, from `prepare`.
        shape: of one input.
        data: gives examples of data, where there are any; called only where they are needed.
        where: how messages begin.

    Raises:
        SpecError: it runs on neither.
        DataError: an example is no row of the table that it is looked up in.
    """
    normal, failure, outputs = TrialInputs(shape), None, tuple[int, ...]()
    far = torch.tensor([-FAR, FAR]).reshape(2, *[1] * len(shape)).expand(2, *shape)
    try:
        outputs, finite, indexed = _try_out(module, torch.cat([normal.draw(IMAGES, _rng()), far]), where)
    except (SpecError, DataError) as error:
        failure, finite, indexed = error, False, False
    why = ""
    if data is not None and (indexed or not finite):
        try:
            examples = spread_examples(data())
        except DataError as error:  # a run does without data, unless there is no other way
            why = f"; examples of the data cannot be tried: {error}"
        else:
            if not finite or are_whole(examples):
                inputs = example_inputs(module, examples, where)
                return inputs, output_shape(module, inputs, where)
    if failure is not None:
        raise SpecError(f"{failure}{why or _way_out(module, normal)}") from failure
    return normal, outputs


def example_inputs(module: nn.Module, example: Tensor, where: str) -> TrialInputs:
    """Choose how a module is tried out on examples of data: as they are, or as whole numbers where it takes those only.

    Raises:
        DataError: an example is no row of the table that it is looked up in.
    """
    shape, examples = tuple(example.shape[1:]), spread_examples(example)
    as_they_are, as_whole = TrialInputs(shape, examples), TrialInputs(shape, examples, whole=True)
    if not are_whole(examples):
        return as_they_are
    failures: list[Exception] = []
    for choice in [as_they_are, as_whole] if example.is_floating_point() else [as_whole, as_they_are]:
        try:
            if _try_out(module, choice.first(len(examples)), where)[1]:
                return choice
        except (SpecError, DataError) as error:
            failures.append(error)
    for failure in failures:
        if isinstance(failure, DataError):
            raise failure
    return as_they_are


def _fails(module: nn.Module, where: str, on: str, error: BaseException) -> SpecError:
    fails = f"it does not run on inputs of shape {on} (the data's, or what trace was given): {described(error)}"
    return SpecError(f"{where}: {of_inputs(module) or fails}")


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def output_shape(module: nn.Module, inputs: TrialInputs, where: str) -> tuple[int, ...]:
    """Run a module on some inputs, in evaluation and in training, and return the shape of one example's outputs."""
    try:
        return _try_out(module, inputs.draw(IMAGES, _rng()), where)[0]
    except (SpecError, DataError) as error:
        raise SpecError(f"{error}{_way_out(module, inputs)}") from error


def _try_out(module: nn.Module, inputs: Tensor, where: str) -> tuple[tuple[int, ...], bool, bool]:
    """Return the shape of outputs, whether all are finite, and whether rows are looked up by what the inputs are.

    In training the same examples come the other way round, so that what is looked up by them differs.
    """
    found, finite, indices = tuple[int, ...](), True, []
    for mode, given in (("evaluation", inputs), ("training", inputs.flip(0))):
        copied = copy.deepcopy(module).train(mode == "training")
        lookups = Lookups(copied, where)
        kind = str(given.dtype).removeprefix("torch.")
        on = f"{tuple(inputs.shape[1:])} ({mode} mode, {kind})"
        with (
            others_code(partial(_fails, module, where, on)),
            torch.no_grad(),
            seeded(0, "trying a module out"),
            lookups,
        ):
            outputs = copied(given.clone())
        if not isinstance(outputs, Tensor):
            raise SpecError(
                f"{where}: its forward must return one tensor, not {type(outputs).__name__} ({mode} mode); "
                f"{of_outputs(outputs)}"
            )
        if outputs.dim() < 2 or len(outputs) != len(inputs) or not outputs.is_floating_point():
            raise SpecError(
                f"{where}: its outputs for {len(inputs)} inputs are {outputs.dtype} {list(outputs.shape)}, must be "
                f"real numbers [{len(inputs)}, outputs], or [{len(inputs)}, outputs, …] with outputs for each place"
            )
        found, finite = tuple(outputs.shape[1:]), finite and bool(outputs.isfinite().all())
        indices.append(lookups.indices)
    return found, finite, not _same(*indices)


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _way_out(module: nn.Module, inputs: TrialInputs) -> str:
    """Say how to have a module tried that takes whole numbers and was given others, as the end of a sentence."""
    if inputs.whole:
        return ""
    try:
        _try_out(module, torch.zeros(IMAGES, *inputs.shape, dtype=torch.int64), "")
    except HyperframeError:
        return ""
    if inputs.examples is None:
        return (
            ". It runs on whole numbers, as an embedding does: hand some inputs over, "
            "hyperframe.trace(module, example=x)"
        )
    return (
        ". It runs on whole numbers, as an embedding does, and the data are others; bytes (uint8) are taken for pixels "
        "and divided by 255, which int64 are not"
    )


def export(module: nn.Module, inputs: TrialInputs, where: str) -> Any:
    """Export a module to its graph of operations, for such inputs."""

    def failed(error: BaseException) -> SpecError:
        why = of_failure(error) or f"{brief(error)}; see docs/target.md for a written spec"
        return SpecError(f"{where}: it cannot be traced: {why}")

    with others_code(failed), _quiet(), AsEquations():
        given = inputs.draw(IMAGES, _rng())
        return torch.export.export(module, (given,), strict=False).run_decompositions({})


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch prints about a graph that fails."""
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
