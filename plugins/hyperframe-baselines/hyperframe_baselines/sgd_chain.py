"""The generator `sgd_chain`: gradient descent at a constant rate, whose states stand for draws of a posterior."""

from typing import Any

import attrs
import torch
from torch import nn

from hyperframe import Component, Task, hookimpl, option
from hyperframe.networks import TrainingOptions
from hyperframe.targets import TargetSpec
from hyperframe_baselines.chains import BurntInChains, BurntInOptions


@attrs.frozen(kw_only=True)
class Options(BurntInOptions):
    """Options of chains of gradient descent."""

    momentum: float = option(0.9, "momentum of the descent", minimum=0, below=1)


class SgdChain(BurntInChains):
    """Networks that stochastic gradient descent passes: column (b) of the paper's table 1, with one chain.

    With `trainer.schedule=constant`, the noise of the batches keeps the weights moving about a minimum. How widely
    depends on rate and batch, and is the posterior's width for certain values of them alone; in general these are no
    draws of a posterior. Each chain moves by the rate times the gradient of its own loss, λ · (mean loss) with
    `objective: trade_off`.

    References: S. Mandt, M. Hoffman, D. Blei (2017), Stochastic Gradient Descent as Approximate Bayesian Inference.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__("sgd_chain", options, spec)
        self.options = options

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """The chains, at the trainer's rate for the loss of each and not for the mean over all."""
        return [(float(self.chains), [self.points])]

    def optimizer(self, groups: list[dict[str, Any]], training: TrainingOptions) -> torch.optim.Optimizer:
        """Gradient descent with momentum."""
        return torch.optim.SGD(groups, lr=training.rate, momentum=self.options.momentum, fused=True)


def _build(options: Options, spec: TargetSpec, task: Task) -> SgdChain:
    return SgdChain(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="sgd_chain",
            factory=_build,
            options=Options,
            summary="states of gradient descent at a constant rate, collected along one training",
            reference="S. Mandt, M. Hoffman, D. Blei (2017), Stochastic Gradient Descent as Approximate Bayesian "
            "Inference; table 1 (b)",
        )
    ]
