"""The gauge `logit_shift`: the filters of the last layer sum to zero."""

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits
from hyperframe.types import Gauge, NoOptions


class LogitShiftGauge(Gauge):
    """Fixes the common shift of the logits completely: Σ_i θ_{m,i} = 0 over the filters of the last layer m.

    Softmax does not see one vector added to every row of the last layer, bias included: fan_in + 1 directions, of which
    `logit_bias` fixes one. Where the target has no logits or the task sees shifts, nothing changes.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"logit_shift"})

    def __init__(self, orbits: Orbits) -> None:
        self._shift = orbits.logit_shift

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        if self._shift is None:
            return weights
        theta = weights[self._shift.layer]
        return weights | {self._shift.layer: theta - theta.mean(1, keepdim=True)}


def _build(options: NoOptions, orbits: Orbits) -> LogitShiftGauge:
    return LogitShiftGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="logit_shift",
            factory=_build,
            summary="the filters of the last layer, biases included, sum to zero",
        )
    ]
