"""hyperframe: train a generator of neural networks.

A hypernetwork turns a random vector into all the weights of a network, so that every draw is a good network and the
draws are essentially different from each other.

    import hyperframe as hf
    run = hf.train("digits")
    nets = run.sample(200)          # 200 networks
    probs = nets.predict(x)         # [200, examples, classes]; nets.vote(x), nets.mean(x)
    nets[3]                         # an ordinary nn.Module
"""

from importlib.metadata import version

from hyperframe.analysis.distillation.distill import distill
from hyperframe.analysis.distillation.student import DistillationOptions
from hyperframe.analysis.partial_results import in_parts
from hyperframe.analysis.plots import keep_grid, keep_lines, keep_picture, keep_scatter, new_figure
from hyperframe.api import load, resume, train
from hyperframe.errors import DataError, HyperframeError, HyperframeWarning, NotApplicableError
from hyperframe.hookspecs import hookimpl
from hyperframe.metrics import Meter, Metric, over_networks
from hyperframe.networks.generator import Generator, LatentOptions
from hyperframe.networks.sampled import Networks
from hyperframe.networks.target import Target
from hyperframe.options import option
from hyperframe.runs.run import Run
from hyperframe.targets.params import Param, bias, kernel, scale, shift
from hyperframe.targets.spec import LayerSpec, Slice, TargetSpec
from hyperframe.targets.symmetry.orbits import Orbits
from hyperframe.targets.symmetry.propagate import propagate_factors
from hyperframe.targets.tracing.tracer import Traced, trace
from hyperframe.targets.units import UnitSpec
from hyperframe.targets.weights import flatten, unflatten
from hyperframe.tasks.classification import ClassificationTask
from hyperframe.tasks.regression import RegressionTask
from hyperframe.training.loop import Reporter
from hyperframe.types import (
    Analysis,
    Component,
    Data,
    DiversityInputs,
    DiversityTerm,
    EntropyEstimator,
    Gauge,
    Objective,
    Statistics,
    Task,
    Weights,
)

__version__ = version("hyperframe-nn")

__all__ = [
    "Analysis",
    "ClassificationTask",
    "Component",
    "Data",
    "DataError",
    "DistillationOptions",
    "DiversityInputs",
    "DiversityTerm",
    "EntropyEstimator",
    "Gauge",
    "Generator",
    "HyperframeError",
    "HyperframeWarning",
    "LatentOptions",
    "LayerSpec",
    "Meter",
    "Metric",
    "Networks",
    "NotApplicableError",
    "Objective",
    "Orbits",
    "Param",
    "RegressionTask",
    "Reporter",
    "Run",
    "Slice",
    "Statistics",
    "Target",
    "TargetSpec",
    "Task",
    "Traced",
    "UnitSpec",
    "Weights",
    "bias",
    "distill",
    "flatten",
    "hookimpl",
    "in_parts",
    "keep_grid",
    "keep_lines",
    "keep_picture",
    "keep_scatter",
    "kernel",
    "load",
    "new_figure",
    "option",
    "over_networks",
    "propagate_factors",
    "resume",
    "scale",
    "shift",
    "trace",
    "train",
    "unflatten",
]
