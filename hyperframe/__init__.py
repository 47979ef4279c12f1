"""hyperframe: train a generator of neural networks.

A hypernetwork turns a random vector into all the weights of a network, so that every draw is a good network and the
draws are essentially different from each other.

    import hyperframe as hf
    run = hf.train("digits")
    nets = run.sample(200)          # 200 networks
    probs = nets.predict(x)         # [200, examples, classes]; nets.vote(x), nets.mean(x)
    nets[3]                         # an ordinary nn.Module

These are the names that most users need. Authors of components find more in `hyperframe.targets` (specs, symmetries,
layouts of weights), `hyperframe.networks` (generators), `hyperframe.analysis`, `hyperframe.types` (what a component of
each kind promises), `hyperframe.errors`, and `hyperframe.testing`.

What stands here is imported when it is first asked for: torch, which nearly all of it needs, takes seconds to import,
and the command line can say what it does without.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperframe import analysis as analysis
    from hyperframe import errors as errors
    from hyperframe import networks as networks
    from hyperframe import targets as targets
    from hyperframe import types as types
    from hyperframe.analysis.distillation.distill import distill
    from hyperframe.analysis.distillation.student import DistillationOptions
    from hyperframe.api import from_pretrained, load, resume, train
    from hyperframe.component import Component
    from hyperframe.errors import HyperframeError, HyperframeWarning
    from hyperframe.hookspecs import hookimpl
    from hyperframe.metrics import Meter, Metric, over_networks
    from hyperframe.networks.ensemble import Ensemble
    from hyperframe.networks.generator import Generator
    from hyperframe.networks.sampled import Networks
    from hyperframe.options import option
    from hyperframe.runs.run import Run
    from hyperframe.targets.tracing.tracer import trace
    from hyperframe.tasks.classification import ClassificationTask
    from hyperframe.tasks.regression import RegressionTask
    from hyperframe.training.reporter import Reporter
    from hyperframe.types import Data, Task, Weights

__version__ = version("hyperframe-nn")

_WINGS = ("analysis", "errors", "networks", "targets", "types")

_PLACES = {
    "ClassificationTask": "hyperframe.tasks.classification",
    "Component": "hyperframe.component",
    "Data": "hyperframe.types",
    "DistillationOptions": "hyperframe.analysis.distillation.student",
    "Ensemble": "hyperframe.networks.ensemble",
    "Generator": "hyperframe.networks.generator",
    "HyperframeError": "hyperframe.errors",
    "HyperframeWarning": "hyperframe.errors",
    "Meter": "hyperframe.metrics",
    "Metric": "hyperframe.metrics",
    "Networks": "hyperframe.networks.sampled",
    "RegressionTask": "hyperframe.tasks.regression",
    "Reporter": "hyperframe.training.reporter",
    "Run": "hyperframe.runs.run",
    "Task": "hyperframe.types",
    "Weights": "hyperframe.types",
    "distill": "hyperframe.analysis.distillation.distill",
    "from_pretrained": "hyperframe.api",
    "hookimpl": "hyperframe.hookspecs",
    "load": "hyperframe.api",
    "option": "hyperframe.options",
    "over_networks": "hyperframe.metrics",
    "resume": "hyperframe.api",
    "trace": "hyperframe.targets.tracing.tracer",
    "train": "hyperframe.api",
}
"""The module of each name; the imports above say the same to type checkers."""

__all__ = [
    "ClassificationTask",
    "Component",
    "Data",
    "DistillationOptions",
    "Ensemble",
    "Generator",
    "HyperframeError",
    "HyperframeWarning",
    "Meter",
    "Metric",
    "Networks",
    "RegressionTask",
    "Reporter",
    "Run",
    "Task",
    "Weights",
    "__version__",
    "distill",
    "from_pretrained",
    "hookimpl",
    "load",
    "option",
    "over_networks",
    "resume",
    "trace",
    "train",
]


if not TYPE_CHECKING:  # to a type checker a name that is not imported above is a mistake

    def __getattr__(name: str) -> Any:
        """Import a wing, or a name from its module; Python asks once, since it is kept."""
        if name in _WINGS:
            return import_module(f"{__name__}.{name}")
        if name in _PLACES:
            value = globals()[name] = getattr(import_module(_PLACES[name]), name)
            return value
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The names that are public, whether they are imported yet or not, beside what is there."""
    return sorted({*globals(), *_WINGS, *_PLACES})
