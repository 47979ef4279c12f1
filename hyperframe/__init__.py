"""hyperframe: train a generator of neural networks.

A hypernetwork turns a random vector into all the weights of a network, so that every draw is a good network and the
draws are essentially different from each other.

    import hyperframe as hf
    run = hf.train("digits")
    nets = run.sample(200)          # 200 networks
    probs = nets.predict(x)         # [200, items, classes]; nets.vote(x), nets.mean(x)
    nets[3]                         # an ordinary nn.Module
"""

from importlib.metadata import version

from hyperframe.api import load, resume, train
from hyperframe.condensing import distill
from hyperframe.distillation import DistillationOptions
from hyperframe.errors import DataError, HyperframeError, HyperframeWarning, NotApplicableError
from hyperframe.generator import Generator, LatentOptions
from hyperframe.hookspecs import hookimpl
from hyperframe.labelorbits import walked
from hyperframe.options import option
from hyperframe.params import Param, bias, kernel, scale, shift
from hyperframe.parts import in_parts
from hyperframe.pictures import keep_grid, keep_lines, keep_picture, keep_scatter, new_figure
from hyperframe.regression import RegressionTask
from hyperframe.run import Run
from hyperframe.samples import Networks
from hyperframe.spec import LayerSpec, Slice, TargetSpec, UnitSpec
from hyperframe.symmetry import Orbits
from hyperframe.target import Target
from hyperframe.task import ClassificationTask
from hyperframe.taskmetrics import Meter, Metric, over_networks
from hyperframe.tracing import Traced, trace
from hyperframe.training import Reporter
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
from hyperframe.weights import flatten, unflatten

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
    "resume",
    "scale",
    "shift",
    "trace",
    "train",
    "unflatten",
    "walked",
]
