"""Outputs of all networks on the same inputs, and the way back of a gradient at them, in memory that chunks bound."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from hyperframe.config.sections import Precision
from hyperframe.errors import MemoryShortageError
from hyperframe.networks.target import Target
from hyperframe.runtime.chunks import Chunks
from hyperframe.runtime.distributed import ALONE, Processes
from hyperframe.runtime.precision import bfloat16_products
from hyperframe.runtime.rng import RandomState
from hyperframe.targets.weights import batch_size, slice_weights

T = TypeVar("T")


def run_in_training(
    target: Target, unpacked: Mapping[str, Tensor], x: Tensor, precision: Precision, *, shared: bool = False
) -> Tensor:
    """Run networks in training mode as `Target.run` does, their products rounded to bfloat16 where that is asked for.

    Outputs are in single precision even then, and so are gradients at the parameters: the way back takes each operation
    in the precision that it had.
    """
    if precision != "bfloat16":
        return target.run(unpacked, x, shared=shared, training=True)
    with bfloat16_products(x.device):
        outputs = target.run(unpacked, x, shared=shared, training=True)
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


class SharedOutputs:
    """The outputs of all networks on the same inputs, for terms that compare them.

    The outputs are small, their graph is not: they are computed chunk by chunk without one. When the gradient at them
    is known, each chunk runs once more, with a graph, and passes its part on. Random numbers that the target draws, as
    for dropout, are the same both times, but for a chunk that memory did not suffice for the second time.

    Of several processes each runs its share of the networks and gets all outputs. What is differentiated is the same in
    all of them, and so each knows the gradient at the outputs of its own networks, which it passes on.

    Args:
        target: runs in training mode.
        unpacked: the module's parameters [networks, *shape], without a graph.
        inputs: [examples, *input_shape].
        chunks: divides the networks.
        too_large: makes what is raised where one network does not fit.
        repeats: random numbers are kept, to be the same both times; without it, the target must draw none.
        precision: of the products in a pass, see `run_in_training`.
        processes: those that share the networks.

    Attributes:
        values: outputs [networks, examples, *outputs], a leaf whose gradient `gradient` passes on.
    """

    def __init__(
        self,
        target: Target,
        unpacked: Mapping[str, Tensor],
        inputs: Tensor,
        chunks: Chunks,
        too_large: Callable[[], MemoryShortageError],
        *,
        repeats: bool,
        precision: Precision = "float32",
        processes: Processes = ALONE,
    ) -> None:
        networks = batch_size(unpacked)
        self._target, self._all, self._inputs = target, unpacked, inputs
        self._unpacked = processes.own(unpacked)
        self._processes = processes
        self._precision: Precision = precision
        self._chunks, self._too_large = chunks, too_large
        self._random: dict[int, RandomState] = {}
        self._in_threads = target.runs_in_threads(len(inputs))
        self._repeats = repeats and not self._in_threads  # in threads nothing is drawn
        with torch.no_grad(), processes.own_numbers(inputs.device):
            parts = [outputs for _, outputs in self._over(self._first)]
        self.values = processes.complete(torch.cat(parts), networks).requires_grad_()

    def __len__(self) -> int:
        return len(self._inputs)

    def gradient(self) -> dict[str, Tensor]:
        """Carry the gradient at the outputs back to the module's parameters: {name: [networks, *shape]}.

        It is zero for networks of other processes.
        """
        result = {name: torch.zeros_like(value) for name, value in self._all.items()}
        if self.values.grad is None:
            return result
        own = self._processes.own(result)
        if not self._processes.alone:  # each process differentiates its part only, see `BatchLoss`
            self.values.grad *= self._processes.count
        with self._processes.own_numbers(self._inputs.device):
            for rows, found in self._over(self._second):
                for name, part in zip(own, found, strict=True):
                    if part is not None:  # the outputs need not depend on every parameter
                        own[name][rows] = part
        return result

    def _over(self, work: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        count, numbers = batch_size(self._unpacked), self._target.numbers(len(self._inputs))
        return self._chunks.over(count, work, self._too_large, numbers=numbers, in_threads=self._in_threads)

    def _first(self, rows: slice) -> Tensor:
        """A chunk's outputs."""
        if self._repeats:
            self._random[rows.start] = RandomState(self._inputs.device)
        return self._run(slice_weights(self._unpacked, rows))

    def _second(self, rows: slice) -> tuple[Tensor | None, ...]:
        """A chunk's part of the gradient."""
        if rows.start not in self._random:  # nothing is drawn; or memory ran out in between, and the chunk is new
            return self._passed_on(rows)
        with self._random[rows.start].again():
            return self._passed_on(rows)

    def _passed_on(self, rows: slice) -> tuple[Tensor | None, ...]:
        assert self.values.grad is not None
        leaves = {name: value[rows].detach().requires_grad_() for name, value in self._unpacked.items()}
        outputs = self._run(leaves)
        gradient = self._processes.own({"outputs": self.values.grad})["outputs"]
        return torch.autograd.grad(outputs, list(leaves.values()), gradient[rows], allow_unused=True)

    def _run(self, unpacked: Mapping[str, Tensor]) -> Tensor:
        return run_in_training(self._target, unpacked, self._inputs, self._precision, shared=True)
