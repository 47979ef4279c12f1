"""Tail averaging: parameters averaged over the last steps of a training, which take their places in the end."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hyperframe.config.schedule import tail_start
from hyperframe.networks.generator import Generator
from hyperframe.runtime.rng import seeded, stream

PASSES = 50
"""Batches of networks from which running moments are estimated anew."""


class TailAverage:
    """The mean of parameters over the last part of the steps: stochastic weight averaging.

    Buffers are not averaged. What `Generator.after_step` collects stays what the steps have left. The running moments
    of batch normalisations inside the generator are those of the parameters of the last steps, and fit the averages
    badly; `take_over` estimates them anew, as plain means over batches of new networks.

    A run that is extended after its last step goes on from the averages, and averages anew over those of its further
    steps that lie in the longer run's tail. One that was paused inside its tail keeps its averages where this is inside
    the longer run's tail too, and else forgets them.

    Args:
        parameters: what is averaged; they stay on their device, and so do the averages.
        part: the part of the steps, at the end, over which they are averaged; None: nothing is.
        steps: of the training.

    References: P. Izmailov, D. Podoprikhin, T. Garipov, D. Vetrov, A. G. Wilson (2018), Averaging Weights Leads to
    Wider Optima and Better Generalization.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], part: float | None, steps: int) -> None:
        self._parameters = parameters
        self._first = steps if part is None else tail_start(part, steps)
        self._averages: list[Tensor] = []
        self._count = 0

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the parameters in after the step with this number, counted from 0; before the tail nothing is done."""
        if step < self._first:
            return
        self._count += 1
        if self._count == 1:
            self._averages = [value.clone() for value in self._parameters]
        else:
            torch._foreach_lerp_(self._averages, list(self._parameters), 1 / self._count)

    @torch.no_grad()
    def take_over(self, generator: Generator, networks: int, seed: int) -> None:
        """Put the averages in the parameters' places after the last step, and begin anew; without any, do nothing.

        Args:
            generator: whose parameters they are.
            networks: of a batch from which running moments are estimated.
            seed: of these networks; the training's own random numbers stay where they are.
        """
        if not self._count:
            return
        torch._foreach_copy_(list(self._parameters), self._averages)
        self._averages, self._count = [], 0
        _estimate_running_moments(generator, networks, seed)

    def tensors(self) -> dict[str, Tensor]:
        """The averages and of how many steps they are, by name; outside of the tail none."""
        if not self._count:
            return {}
        named = {f"average.{number}": value for number, value in enumerate(self._averages)}
        return {**named, "average": torch.tensor(self._count)}

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave after so many steps; outside of the tail, they are forgotten.

        Raises:
            LookupError, ValueError: the tensors do not fit.
        """
        self._averages, self._count = [], 0
        if "average" not in tensors or step <= self._first:
            return
        count, averages = int(tensors["average"]), []
        if count < 1:
            raise ValueError(f"'average' is {count}, should be a number of steps")
        for number, parameter in enumerate(self._parameters):
            value = tensors[f"average.{number}"]
            if (value.shape, value.dtype) != (parameter.shape, parameter.dtype):
                raise ValueError(
                    f"'average.{number}' is {value.dtype} {list(value.shape)}, should be {parameter.dtype} "
                    f"{list(parameter.shape)}"
                )
            averages.append(value.to(parameter.device, copy=True))
        self._averages, self._count = averages, count


def _estimate_running_moments(generator: Generator, networks: int, seed: int) -> None:
    """Estimate the running moments of a generator's batch normalisations from batches of networks of a seed."""
    norms = [module for module in generator.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    momenta, training = [norm.momentum for norm in norms], generator.training
    device = cast(Tensor, norms[0].running_mean).device
    for norm in norms:
        norm.reset_running_stats()
    rng = stream(seed, "moments of averages", device)
    generator.train()
    with seeded(seed, "moments of averages", device):
        for number in range(PASSES):
            for norm in norms:
                # The plain mean so far; None, which torch has for that, is not what `Dense` computes with.
                norm.momentum = 1 / (number + 1)
            generator(generator.latent(networks, rng))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    generator.train(training)
