"""The generator `hypernetwork`: an extractor, and a weight generator per layer that its filters share (section 3.3)."""

from hyperframe import Component, Task, hookimpl
from hyperframe.networks.hypernetwork import Hypernetwork, HypernetworkOptions
from hyperframe.targets import TargetSpec


def _build(options: HypernetworkOptions, spec: TargetSpec, task: Task) -> Hypernetwork:
    return Hypernetwork(options, spec)


@hookimpl
def hyperframe_generators() -> list[Component]:
    """Register the generator."""
    return [
        Component(
            name="hypernetwork",
            factory=_build,
            options=HypernetworkOptions,
            summary="extractor and one weight generator per layer, shared by its filters",
            reference="section 3.3, Table 5",
        )
    ]
