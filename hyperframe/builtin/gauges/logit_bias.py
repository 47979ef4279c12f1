"""The gauge `logit_bias`: the biases of the logits sum to zero (section 3.2.2)."""

import torch

from hyperframe import Component, Weights, hookimpl
from hyperframe.targets import Orbits
from hyperframe.types import Gauge, NoOptions


class LogitBiasGauge(Gauge):
    """Fixes the common shift of the logits' biases: Σ_i b_{m,i} = 0, by subtracting their mean.

    It fixes one of the fan_in + 1 directions of the logit shift, the one that the paper names. Where the target has no
    logits or the task sees shifts, nothing changes.

    Attributes:
        directions: how many directions it fixes, 1 or 0.

    Shapes: each layer [batch, filters, filter_size], in and out.
    """

    fixes = frozenset({"logit_shift"})

    def __init__(self, orbits: Orbits) -> None:
        self._shift = orbits.logit_shift
        self.directions = int(self._shift is not None and self._shift.bias is not None)

    def __call__(self, weights: Weights) -> Weights:
        """Return the representative of each weight set."""
        if self._shift is None or self._shift.bias is None:
            return weights
        theta = weights[self._shift.layer]
        at = self._shift.bias
        bias = theta[:, :, at : at + 1]
        centred = bias - bias.mean(1, keepdim=True)
        return weights | {self._shift.layer: torch.cat([theta[:, :, :at], centred, theta[:, :, at + 1 :]], 2)}


def _build(options: NoOptions, orbits: Orbits) -> LogitBiasGauge:
    return LogitBiasGauge(orbits)


@hookimpl
def hyperframe_gauges() -> list[Component]:
    """Register the gauge."""
    return [
        Component(
            name="logit_bias",
            factory=_build,
            summary="the biases of the logits sum to zero",
            reference="section 3.2.2",
        )
    ]
