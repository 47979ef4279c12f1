"""One piece of work and the ways of doing it, and targets that do it the plain way."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from torch import Tensor, nn

from hyperframe.experiment.build import Experiment
from hyperframe.networks.passes.running import Runner
from hyperframe.networks.target import Target
from hyperframe.targets.weights import batch_size
from hyperframe.types import Data, Statistics

OURS = "ours"
WAYS = {
    OURS: "hyperframe",
    "loop": "loop over networks",
    "vmap": "one vmap over all",
    "apart": "trunk for each network",
    "broadcast": "all differences at once",
}
"""Every way of doing a piece of work, and how tables name it."""


@attrs.frozen(kw_only=True)
class Work:
    """One piece of work, done in several ways.

    Attributes:
        ways: a call for each way, by names of `WAYS`; `ours` is how the library does it.
        counted: a call whose operations are counted.
        times: how many such calls the work takes.
        sizes: what it is done on.
    """

    ways: Mapping[str, Callable[[], object]]
    counted: Callable[[], object]
    times: int = 1
    sizes: Mapping[str, int]


Making = Callable[[Experiment, Data, int, int], Work]
"""Makes a piece of work of an experiment, training data, a number of networks and a number of examples."""


class _PlainRunner(Runner):
    def _run_one(self, module: nn.Module, unpacked: dict[str, Tensor], buffers: Statistics, examples: Tensor) -> Tensor:
        return self._call(module, unpacked, buffers, examples)


class _PlainTarget(Target):
    """A target that runs a single network just as torch would, and one after the other."""

    runner = _PlainRunner

    def runs_in_threads(self, examples: int) -> bool:
        """They do not."""
        return False


class _ApartTarget(Target):
    """A target that runs all of every network: of the same inputs each has a copy of its own, as if they differed."""

    def run(self, unpacked: Mapping[str, Tensor], x: Tensor, *, shared: bool = False, **options: Any) -> Tensor:
        """Run every network, as the target does."""
        own = x.expand(batch_size(unpacked), *x.shape) if shared else x
        return super().run(unpacked, own, **options)


def plain(experiment: Experiment) -> Target:
    """The experiment's target, which runs one network after the other as torch would."""
    return _another(experiment, _PlainTarget)


def apart(experiment: Experiment) -> Target:
    """The experiment's target, whose trunk is run for each network."""
    return _another(experiment, _ApartTarget)


def _another(experiment: Experiment, kind: type[Target]) -> Target:
    target = experiment.target
    made = kind(target.module, target.spec, target.structure, tried_on=target.tried_on).to(experiment.device)
    made.inputs = target.inputs
    return made
