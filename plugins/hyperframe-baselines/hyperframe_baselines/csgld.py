"""The generator `csgld`: Langevin dynamics with a cyclic rate, which explores at high rates and samples at low ones."""

from typing import Any

import attrs
import torch

from hyperframe import Component, Task, hookimpl, option
from hyperframe.networks import TrainingOptions
from hyperframe.targets import TargetSpec
from hyperframe_baselines.chains import ChainOptions, Chains, cycles
from hyperframe_baselines.sgld import Langevin


@attrs.frozen(kw_only=True)
class Options(ChainOptions):
    """Options of cyclical Langevin dynamics."""

    exploration: float = option(
        0.8,
        "the part of each cycle, at its beginning, that has no noise, and in which nothing is collected",
        below=1,
        minimum=0,
    )
    temperature: float = option(1.0, "T of exp(−U / T) in the rest of a cycle; 1: the posterior itself", minimum=0)


class CyclicalSgld(Chains):
    """Chains that go to another mode of the posterior in each cycle of the rate, and draw around it in the rest of it.

    The potential U is that of `sgld`. The rate is `trainer.schedule=cyclic`, whose cycles are `trainer.cycles`. The
    states of a chain are spread evenly over the sampling stages of all cycles.

    Raises:
        ConfigError: the rate is not cyclic.

    References: R. Zhang, C. Li, J. Zhang, C. Chen, A. G. Wilson (2020), Cyclical Stochastic Gradient MCMC for Bayesian
    Deep Learning.
    """

    def __init__(self, options: Options, spec: TargetSpec) -> None:
        super().__init__("csgld", options, spec)
        self.options = options
        self._sampling: list[range] = []
        self._optimizer: torch.optim.Optimizer | None = None

    def stages(self, training: TrainingOptions) -> list[range]:
        """The last part of each cycle; at least its last step."""
        part = self.options.exploration
        return [cycle[min(int(part * len(cycle)), len(cycle) - 1) :] for cycle in cycles(self.name, training)]

    def optimizer(self, groups: list[dict[str, Any]], training: TrainingOptions) -> torch.optim.Optimizer:
        """Langevin dynamics."""
        self._sampling = self.stages(training)
        self._optimizer = Langevin(groups, training.rate, networks=self.chains, temperature=self.options.temperature)
        return self._optimizer

    def before_step(self, step: int, steps: int) -> None:
        """Take the noise away where the chains explore."""
        sampling = any(step in stage for stage in self._sampling)
        for group in self._optimizer.param_groups if self._optimizer else ():
            group["temperature"] = self.options.temperature if sampling else 0.0


def _build(options: Options, spec: TargetSpec, task: Task) -> CyclicalSgld:
    return CyclicalSgld(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="csgld",
            factory=_build,
            options=Options,
            summary="Langevin dynamics with a cyclic rate: explores without noise, then collects draws with it",
            reference="R. Zhang et al. (2020), Cyclical Stochastic Gradient MCMC for Bayesian Deep Learning",
        )
    ]
