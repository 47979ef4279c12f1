"""The generator `snapshot`: the networks at the ends of the cycles of a cyclic rate."""

from hyperframe import Component, Task, hookimpl
from hyperframe.networks import TrainingOptions
from hyperframe.targets import TargetSpec
from hyperframe_baselines.chains import ChainOptions, Chains, cycles


class Snapshots(Chains):
    """A network for each of the last `states` cycles of the rate, in which it falls to zero.

    The high rate with which a cycle begins leads away from the minimum of the one before. `trainer.schedule=cyclic` is
    the rate. Networks are moved by the trainer's Adam, as those of `direct` are; the paper has gradient descent with
    momentum.

    Raises:
        ConfigError: the rate is not cyclic.

    References: G. Huang, Y. Li, G. Pleiss, Z. Liu, J. Hopcroft, K. Weinberger (2017), Snapshot Ensembles: Train 1, Get
    M for Free.
    """

    def __init__(self, options: ChainOptions, spec: TargetSpec) -> None:
        super().__init__("snapshot", options, spec)

    def stages(self, training: TrainingOptions) -> list[range]:
        """The last step of each of the last cycles."""
        return [cycle[-1:] for cycle in cycles(self.name, training)][-len(self.get_buffer("states")) :]


def _build(options: ChainOptions, spec: TargetSpec, task: Task) -> Snapshots:
    return Snapshots(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="snapshot",
            factory=_build,
            options=ChainOptions,
            summary="the networks at the ends of a cyclic rate's cycles: several from one training",
            reference="G. Huang et al. (2017), Snapshot Ensembles: Train 1, Get M for Free",
        )
    ]
