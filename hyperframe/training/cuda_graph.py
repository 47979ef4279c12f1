"""A training step's gradient as a CUDA graph: recorded once, then started by one call instead of hundreds."""

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from hyperframe.errors import TrainingError, brief, notice
from hyperframe.experiment.loss import BatchLoss

WARM_UP = 3
"""Steps that are done as they are before one is recorded: libraries are loaded in them, and chunks find their size."""

Work = Callable[[float | Tensor], dict[str, Tensor]]
"""Draws what a step needs, leaves a gradient in the parameters and returns metrics; is given what accuracy counts."""


class Recorded:
    """Calls a function on a CUDA device: at first as it is, then as a graph of what it has done there.

    A small target's step is hundreds of kernels of microseconds each, and starting them from Python takes ten times as
    long as they run. A graph starts them all at once. It does the same work on the same numbers, and random generators
    go on as without it.

    What a replay cannot do is to run Python: whatever the function reads that changes from step to step must be a
    tensor on the device that is changed in place. A function that makes the host wait for the device cannot be
    recorded; it is called as it is, and a warning says so once.

    Args:
        work: the function.
        loss: counts gradient evaluations, which a replay adds as well.
        parameters: in which the function leaves gradients.
        streams: generators of random numbers that it draws from, beside the device's own.

    Raises:
        TrainingError: a call is the one to be recorded, and the function cannot be.
    """

    def __init__(
        self, work: Work, loss: BatchLoss, parameters: Sequence[nn.Parameter], streams: Mapping[str, torch.Generator]
    ) -> None:
        self._work = work
        self._loss = loss
        self._parameters = parameters
        self._streams = streams
        self._calls = 0
        self._waits = False
        self._replay: Callable[[float], dict[str, Tensor]] | None = None

    def __call__(self, accuracy_weight: float) -> dict[str, Tensor]:
        """Do the work; the metrics are overwritten by the next call."""
        self._calls += 1
        if self._calls == WARM_UP:
            return self._watched(accuracy_weight)
        if self._calls == WARM_UP + 1 and not self._waits:
            self._replay = self._record()
        return self._work(accuracy_weight) if self._replay is None else self._replay(accuracy_weight)

    def _watched(self, accuracy_weight: float) -> dict[str, Tensor]:
        """Do the work and find out whether anything in it makes the host wait."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mode = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("warn")
            try:
                metrics = self._work(accuracy_weight)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        for one in caught:
            if "called a synchronizing CUDA operation" in str(one.message):
                self._waits = True
            elif "Synchronization debug mode" not in str(one.message):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if self._waits:
            notice("the step makes the host wait for the device: no CUDA graph is recorded, and it is slower for that")
        return metrics

    def _record(self) -> Callable[[float], dict[str, Tensor]]:
        """Record the work, which does not do it, and return what does."""
        graph, before = torch.cuda.CUDAGraph(), self._loss.evaluations
        first = self._parameters[0]
        weight = first.new_zeros(())
        for stream in self._streams.values():
            graph.register_generator_state(stream)
        try:
            # An error mode of this thread alone: what other threads of the program do is their business.
            with torch.cuda.device(first.device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
                metrics = self._work(weight)
        except RuntimeError as error:
            raise TrainingError(
                f"the step cannot be recorded as a CUDA graph ({type(error).__name__}: {brief(error)}); set "
                "trainer.cuda_graph=false"
            ) from error
        evaluations, self._loss.evaluations = self._loss.evaluations - before, before
        gradients = [parameter.grad for parameter in self._parameters]

        def replay(accuracy_weight: float) -> dict[str, Tensor]:
            weight.fill_(accuracy_weight)
            graph.replay()
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient
            self._loss.evaluations += evaluations
            return metrics

        return replay
