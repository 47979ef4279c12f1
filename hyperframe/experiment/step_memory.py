"""The memory of a training step: one is done with tensors that have shapes and no values, and what lives is counted."""

import copy
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from hyperframe.config.schema import Config
from hyperframe.errors import Forgiven, MemoryShortageError
from hyperframe.experiment.loss import BatchLoss
from hyperframe.networks.generator import Generator
from hyperframe.runtime.chunks import Chunks
from hyperframe.runtime.modes import with_gradients
from hyperframe.types import Data, Task

T = TypeVar("T")


class LivingBytes(TorchDispatchMode):
    """Within it the bytes of tensors that operations make are counted as long as these live.

    Attributes:
        now: bytes of those that live.
        most: the most that did at a time.

    Example:
        >>> with LivingBytes() as living:
        ...     x = torch.ones(1000)
        ...     del x
        ...     y = torch.ones(500)
        >>> living.now, living.most
        (2000, 4000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do an operation, and count what it makes."""
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known[key] = storage.nbytes()
            self.now += self._known[key]
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._known.pop(key)


class SampledChunks(Chunks):
    """Chunks of which the first two and the last two are worked on; what the others give is made without work.

    All but the last have the same size, and the work on each takes the same memory: what was made before grows, and one
    chunk before is still there. So the most memory is that of the first two or of the last two.

    Example:
        >>> def work(rows):
        ...     print("worked on", rows.start)
        ...     return torch.ones(rows.stop - rows.start)
        >>> [(rows.start, len(found)) for rows, found in SampledChunks(2).over(11, work, MemoryError)]
        worked on 0
        worked on 2
        worked on 8
        worked on 10
        [(0, 2), (2, 2), (4, 2), (6, 2), (8, 2), (10, 1)]
    """

    def over(
        self,
        count: int,
        work: Callable[[slice], T],
        too_large: Callable[[], MemoryShortageError | MemoryError],
        *,
        numbers: int = 1,
        in_threads: bool = False,
    ) -> Iterator[tuple[slice, T]]:
        """Yield each chunk and what the work gave, or tensors of the same shapes."""
        rows = self.divide(count)
        made: Any = None
        makers: Any = None
        for number, chunk in enumerate(rows):
            made = tree_map(lambda make: make(), makers) if 2 <= number < len(rows) - 2 else work(chunk)
            if number == 1:
                makers = tree_map(_maker, made)
            yield chunk, made


def _maker(value: Any) -> Callable[[], Any]:
    """A function that makes a tensor like this one, which it does not keep; for anything else it gives that."""
    if isinstance(value, Tensor):
        return partial(torch.empty, value.shape, dtype=value.dtype)
    return lambda: value


@with_gradients
def step_memory(loss: BatchLoss, generator: Generator, task: Task, config: Config) -> int | None:
    """Count the bytes that tensors of a training step take on a CPU: parameters, moments, weights, activations.

    Data are not among them, nor what the process takes before and libraries take for themselves. Chunks that would run
    in several threads are taken as one.

    Args:
        loss: of the configuration; it stays as it is.
        generator: likewise.
        task: likewise.
        config: says how many networks and examples a step has.

    Returns:
        The bytes; None where a component's code cannot do with tensors without values.
    """
    options, target = config.trainer, loss.target
    alone = loss.evolved(target, loss.chunks.size * _at_the_same_time(loss, options.networks, options.batch_size))
    alone.chunks = SampledChunks(alone.chunks.size)
    trained = sum(value.numel() * value.element_size() for value in generator.parameters() if value.requires_grad)
    held = sum(value.numel() * value.element_size() for value in generator.parameters())
    held += (2 if options.average_tail is None else 3) * trained  # Adam's moments, and the mean of the last steps
    mode, shape = FakeTensorMode(allow_non_fake_inputs=True), target.spec.input_shape
    target.try_out(options.batch_size)
    pretended, rng = copy.deepcopy(generator).train(), torch.Generator()
    found: list[int] = []
    with Forgiven(), _quiet(), mode:
        _leave_values_out(pretended, mode)
        batch = _examples(task, (1 if options.same_examples else options.networks, options.batch_size), shape)
        shared = _examples(task, (options.shared_examples,), shape) if loss.compares_outputs else None
        with LivingBytes() as living:
            z = pretended.latent(options.networks, rng)
            alone.gradients(pretended, z, batch, rng, accuracy_weight=1.0, shared=shared)
        found.append(held + living.most)
    return found[0] if found else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch logs of tensors without values where an operation fails."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _at_the_same_time(loss: BatchLoss, networks: int, examples: int) -> int:
    """How many chunks run in threads at the same time."""
    in_threads = loss.target.runs_in_threads(examples)
    return loss.chunks.workers(networks, loss.target.numbers(examples)) if in_threads else 1


def _leave_values_out(generator: Generator, mode: FakeTensorMode) -> None:
    """Let parameters and buffers be tensors without values, in place."""
    for part in generator.modules():
        for name, value in part._parameters.items():
            if value is not None:
                empty = nn.Parameter(mode.from_tensor(value.detach()), requires_grad=value.requires_grad)
                part._parameters[name] = empty
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = mode.from_tensor(buffer)


def _examples(task: Task, sizes: tuple[int, ...], shape: tuple[int, ...]) -> Data:
    """Examples [*sizes] without values."""
    return Data(torch.zeros(*sizes, *shape), task.blank_labels(*sizes))
