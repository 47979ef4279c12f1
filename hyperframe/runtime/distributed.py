"""Several processes that train together: who is who, what they exchange, and how they begin and end.

In `hyperframe train` each of them has the latent vectors and weights of the whole batch and runs the target on a share
of the networks; see `BatchLoss`. In a training loop of your own, where each has some rows, estimators `gather` them.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from hyperframe.errors import HyperframeError, ProcessLostError
from hyperframe.runtime.memory import is_out_of_memory
from hyperframe.runtime.rng import seeded, stream
from hyperframe.runtime.terminal import Ranks, ranks

LONGEST_WAIT = timedelta(days=365)
"""The others wait for the first process while it evaluates; one that is gone is noticed by its connections."""

SEEDS = 1 << 62

_WHOLE_BATCHES: list[None] = []
"""An entry within `joined`, where every process has all rows already."""


@attrs.frozen(kw_only=True)
class Processes(Ranks):
    """The processes of one training, seen from one of them; alone there is nothing to share or to exchange.

    All processes call the methods that exchange something in the same order. Where one of them is gone, these raise
    `ProcessLostError` in the others.

    Example:
        >>> [Processes(rank=rank, count=3).rows(8) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """

    def rows(self, total: int) -> slice:
        """Its share of so many networks: one block; shares differ by one network at most."""
        share, left = divmod(total, self.count)
        start = self.rank * share + min(self.rank, left)
        return slice(start, start + share + (self.rank < left))

    def own(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Its share of tensors [networks, …] of all networks, as views."""
        if self.alone:
            return values
        return {name: value[self.rows(len(value))] for name, value in values.items()}

    @contextmanager
    def own_numbers(self, device: torch.device) -> Iterator[None]:
        """Let the global random numbers inside be this process's own, as for a dropout in its share of the networks.

        Outside, all processes draw the same ones, also afterwards. What differs inside follows from a number that all
        have in common, and no process has random state that a checkpoint would have to keep for it.
        """
        if self.alone:
            yield
            return
        with seeded(_common_seed(), f"process {self.rank}", device):
            yield

    def own_stream(self, common: torch.Generator) -> torch.Generator:
        """Random numbers of this process's own on the device of a stream that all have in common; alone the stream."""
        return common if self.alone else stream(_common_seed(), f"stream of process {self.rank}", common.device)

    def add_up(self, parameters: Sequence[nn.Parameter], scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Let parameters have the sum of all processes' gradients, and return the sums of scalars.

        One exchange for all of them. The sums are the same in all processes, bit for bit, and so are the parameters
        that an optimiser makes of them.
        """
        if self.alone:
            return dict(scalars)
        gradients = [value.grad for value in parameters if value.grad is not None]
        parts = [*gradients, *scalars.values()]
        flat = torch.cat([part.reshape(-1) for part in parts])
        _exchanged(lambda: dist.all_reduce(flat))
        sums = [new.view_as(old) for new, old in zip(flat.split([part.numel() for part in parts]), parts, strict=True)]
        for gradient, total in zip(gradients, sums, strict=False):
            gradient.copy_(total)
        return {name: total.clone() for name, total in zip(scalars, sums[len(gradients) :], strict=True)}

    def complete(self, rows: Tensor, total: int) -> Tensor:
        """All networks' rows [total, …] from those of this process's share; without a gradient."""
        if self.alone:
            return rows
        everything = rows.new_zeros(total, *rows.shape[1:])
        everything[self.rows(total)] = rows
        _exchanged(lambda: dist.all_reduce(everything))
        return everything

    def highest(self, *numbers: int) -> list[int]:
        """The highest value that a process has of each number; exchanged on the CPU, no device is waited for."""
        return list(numbers) if self.alone else [int(value) for value in _reduced(numbers, dist.ReduceOp.MAX)]

    def total(self, number: float) -> float:
        """The sum of all processes' values of a number."""
        return number if self.alone else float(_reduced([number], dist.ReduceOp.SUM)[0])

    def wait(self) -> None:
        """Wait until all have come here."""
        self.highest(0)

    def decided(self, make: Callable[[], Any]) -> Any:
        """Let the first process make something, and all have it."""
        if self.alone:
            return make()
        made = [make() if self.first else None]
        _exchanged(lambda: dist.broadcast_object_list(made, src=0, device=torch.device("cpu")))
        return made[0]


ALONE = Processes()
"""One process, as everywhere but under torchrun."""


def started() -> Processes:
    """The processes that torchrun, or what sets the same variables of the environment, has started with this one."""
    return Processes(**attrs.asdict(ranks()))


@contextmanager
def joined(processes: Processes | None = None, place: str = "env://") -> Iterator[Processes]:
    """Let the processes that were started together exchange what they have; one alone has nothing to do.

    Where one of them fails, the others lose it, and fail for that. Only the first that fails tells why: what is raised
    inside passes in one of them, and the others end with the same code without a word.

    Args:
        processes: who they are, by default `started()`.
        place: where they meet, as `torch.distributed.rendezvous` takes it.

    Raises:
        ProcessLostError: they do not find each other.
    """
    processes = started() if processes is None else processes
    if processes.alone:
        yield processes
        return
    # Its functions have the group of the time of its import as default arguments. Torch imports it in training, and the
    # group's threads, kept by that, would abort a program that ends.
    importlib.import_module("torch.distributed.nn.functional")

    # Tensors on the CPU, such as the wish to stop, go by gloo beside NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        found = next(rendezvous(place, processes.rank, processes.count, timeout=timedelta(minutes=5)))
        store = PrefixStore("hyperframe", found[0])
        dist.init_process_group(
            backend, store=store, rank=processes.rank, world_size=processes.count, timeout=LONGEST_WAIT
        )
    except (RuntimeError, ValueError) as error:
        raise ProcessLostError(f"the {processes.count} processes do not find each other: {error}") from error
    _WHOLE_BATCHES.append(None)
    done = False
    try:
        yield processes
        done = True
    except (HyperframeError, KeyboardInterrupt) as error:
        if not _is_first_to_tell(store):
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        raise
    finally:
        _WHOLE_BATCHES.pop()
        if done or backend == "gloo":  # NCCL would wait for those that are lost
            dist.destroy_process_group()


def _is_first_to_tell(store: Store) -> bool:
    try:
        return int(store.add("told", 1)) == 1
    except RuntimeError:  # whoever kept the store is gone
        return True


def _common_seed() -> int:
    """Draw a number from the global random numbers of the CPU, which all processes have in common."""
    return int(torch.randint(SEEDS, ()))


def _reduced(numbers: Sequence[float], operation: Any) -> list[float]:
    values = torch.tensor(numbers, dtype=torch.float64)
    _exchanged(lambda: dist.all_reduce(values, operation))
    found: list[float] = values.tolist()
    return found


def _exchanged(exchange: Callable[[], object]) -> None:
    try:
        exchange()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ProcessLostError("another process of this training has ended, or cannot be reached") from error


class _Gather(torch.autograd.Function):
    """All processes' rows; back go each process's own rows of the sum of what arrives in all of them."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor) -> Tensor:
        ctx.count = len(samples)
        parts = [torch.empty_like(samples) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, samples)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.count
        return total[first : first + ctx.count]


def gather(samples: Tensor) -> Tensor:
    """Rows of all processes, one process after the other, where torch.distributed is at work; else the samples.

    Every process gets the same rows and can make the same estimate H of them. Backwards, the gradients that arrive in
    all of W processes are summed, and each process gets its own rows of the sum: W · ∂H/∂(its rows), where all
    processes differentiate H. Behind that, DistributedDataParallel takes the mean of the parameters' gradients over the
    processes, which is the gradient of H, as of one process that has all samples. Where the processes' estimates
    differ, by random numbers of their own, it is the gradient of their mean.

    All processes must call it, backwards too, as often and with samples of one shape and type.

    In `hyperframe train` every process has all rows, and the samples come back as they are.

    Args:
        samples: [n, entries], the rows of this process.

    Returns:
        [W · n, entries].

    Example:
        >>> samples = torch.eye(2)
        >>> gather(samples) is samples                # one process only
        True
    """
    if _WHOLE_BATCHES or not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return samples
    gathered: Tensor = _Gather.apply(samples.contiguous())
    return gathered
