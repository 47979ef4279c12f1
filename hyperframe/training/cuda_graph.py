"""A training step's gradient as a CUDA graph: recorded once, then started by one call instead of hundreds."""

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from hyperframe.errors import TrainingError, brief, notice
from hyperframe.experiment.loss import BatchLoss
from hyperframe.networks.passes.probes import host_state
from hyperframe.runtime.memory import is_out_of_memory

WARM_UP = 3
"""Steps that are done as they are before one is recorded: libraries are loaded in them, and chunks find their size."""

Work = Callable[[float | Tensor], dict[str, Tensor]]
"""Draws what a step needs, leaves a gradient in the parameters and returns metrics; is given what accuracy counts."""


class Recorder:
    """Calls a function on a CUDA device: at first as it is, then as a graph of what it has done there.

    A small target's step is hundreds of kernels of microseconds each, and starting them from Python takes ten times as
    long as they run. A graph starts them all at once. It does the same work on the same numbers, and random generators
    go on as without it.

    What a replay cannot do is to run Python: whatever the function reads that changes from step to step must be a
    tensor on the device that is changed in place. A function is not recorded, and goes on being called, with one
    warning that says why, if in the steps before

    - it makes the host wait for the device, which a graph cannot hold;
    - random numbers of the host are drawn, or numbers among the attributes of `parts` change.

    Args:
        loss: counts gradient evaluations, which a replay adds as well.
        parameters: in which the function leaves gradients.
        streams: generators of random numbers that it draws from, beside the device's own.
        parts: what it calls: generator, terms, objective and so on.
    """

    def __init__(
        self,
        loss: BatchLoss,
        parameters: Sequence[nn.Parameter],
        streams: Mapping[str, torch.Generator],
        parts: Sequence[object],
    ) -> None:
        self._loss = loss
        self._parameters = parameters
        self._streams = streams
        self._parts = parts
        self._calls = 0
        self._before: list[object] = []
        self._why_not: str | None = None
        self._replay: Callable[[float], dict[str, Tensor]] | None = None

    def __call__(self, work: Work, accuracy_weight: float) -> dict[str, Tensor]:
        """Do the work, always the same; the metrics are overwritten by the next call.

        Raises:
            TrainingError: the call is the one to be recorded, and the work cannot be.
        """
        self._calls += 1
        if self._calls == WARM_UP - 1:
            self._before = host_state(self._parts)
        if self._calls == WARM_UP:
            return self._watched(work, accuracy_weight)
        if self._calls == WARM_UP + 1 and self._why_not is None:
            self._replay = self._record(work)
        return work(accuracy_weight) if self._replay is None else self._replay(accuracy_weight)

    def _watched(self, work: Work, accuracy_weight: float) -> dict[str, Tensor]:
        """Do the work and find out whether it can be replayed."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mode = torch.cuda.get_sync_debug_mode()
            torch.cuda.set_sync_debug_mode("warn")
            try:
                metrics = work(accuracy_weight)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        if host_state(self._parts) != self._before:
            self._why_not = "random numbers of the host are drawn in it, or a component changes its attributes"
        for one in caught:
            if "called a synchronizing CUDA operation" in str(one.message):
                self._why_not = "it makes the host wait for the device"
            elif "Synchronization debug mode" not in str(one.message):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if self._why_not:
            notice(f"no CUDA graph of the step is recorded, and it is slower for that: {self._why_not}")
        return metrics

    def _record(self, work: Work) -> Callable[[float], dict[str, Tensor]]:
        """Record the work, which does not do it, and return what does."""
        graph, loss, parameters = torch.cuda.CUDAGraph(), self._loss, self._parameters
        before, device = loss.evaluations, parameters[0].device
        # In half precision a λ of 1e5 would be infinite.
        weight = torch.zeros((), device=device, dtype=torch.promote_types(parameters[0].dtype, torch.float32))
        for stream in self._streams.values():
            graph.register_generator_state(stream)
        try:
            with (
                torch.cuda.device(device),
                # Torch's own stream may be another device's. What other threads do is not to spoil the recording.
                torch.cuda.graph(graph, stream=torch.cuda.Stream(device), capture_error_mode="thread_local"),
            ):
                metrics = work(weight)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            cause = error.__context__ or error  # CUDA says of a spoilt recording just that it is spoilt
            raise TrainingError(
                f"the step cannot be recorded as a CUDA graph ({type(cause).__name__}: {brief(cause)}); set "
                "trainer.cuda_graph=false, in a new process"
            ) from error
        finally:
            evaluations, loss.evaluations = loss.evaluations - before, before
        gradients = [parameter.grad for parameter in parameters]

        def replay(accuracy_weight: float) -> dict[str, Tensor]:
            weight.fill_(accuracy_weight)
            graph.replay()
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            loss.evaluations += evaluations
            return metrics

        return replay
