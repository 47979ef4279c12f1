"""The example networks that gauges, diversity terms and generators are tested on, in sizes that a draw gives."""

import inspect
from functools import lru_cache

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hyperframe.experiment.targets import traced_target
from hyperframe.networks.target import Target
from hyperframe.targets.spec import TargetSpec
from hyperframe.targets.tracing.tracer import trace
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.testing.examples import EXAMPLES
from hyperframe.testing.laws import Draw
from hyperframe.testing.of_targets import TargetCase
from hyperframe.types import Data


class Classes(ClassificationTask):
    """A task for networks of any shape; it has no data."""

    name = "classes"

    def __init__(self, spec: TargetSpec) -> None:
        self.input_shape, self.num_outputs = spec.input_shape, spec.num_outputs

    def data(self, split: str) -> Data:
        """Refuse: no law of networks asks for data."""
        raise NotImplementedError


class _Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(3, 8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.out(self.first(x).unflatten(1, (4, 2)).amax(2))
        return outputs


class _Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate, self.out = weight_norm(nn.Linear(3, 4)), nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.out(self.first(x) * self.gate(x).relu())
        return outputs


class _Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.mixed, self.out = nn.Linear(1, 12), nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inner(x.unsqueeze(2)).unflatten(2, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        heads = (query @ key.mT).softmax(-1) @ value
        outputs: Tensor = self.out(self.mixed(heads.transpose(1, 2).flatten(2)).tanh().mean(1))
        return outputs


TRACED = {"maxout": _Maxout, "gated": _Gated, "attending": _Attending}
"""Examples that no spec can describe, of fixed sizes: in `maxout` two filters share one factor, in `gated` the weights
that read a unit make up for several factors, in `attending` two heads with two channels each change places."""


def network(name: str, draw: Draw) -> TargetCase:
    """Return an example network with its symmetries; if it has a spec, in the sizes of the draw.

    Example:
        >>> network("dense", Draw(widths=(3, 4, 2, 1, 1))).orbits.counts["scaling"]
        4
    """
    if name in TRACED:
        return _network(name, ())
    sizes = inspect.signature(EXAMPLES[name]).parameters
    return _network(name, draw.widths[: len(sizes)])


@lru_cache(maxsize=256)
def _network(name: str, widths: tuple[int, ...]) -> TargetCase:
    if name in TRACED:
        return TargetCase(traced_target(trace(TRACED[name](), (3,), name)))
    sizes = inspect.signature(EXAMPLES[name]).parameters
    module, spec = EXAMPLES[name](**dict(zip(sizes, widths, strict=True)))
    return TargetCase(Target(module, spec))
