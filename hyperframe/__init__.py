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
"""

import sys
from importlib.metadata import version

if sys.argv[:1] == ["-m"] and "hyperframe" in sys.orig_argv:  # python -m hyperframe imports torch before the launcher
    from hyperframe_launcher import calm_threads

    calm_threads()

from hyperframe import analysis as analysis
from hyperframe import errors as errors
from hyperframe import networks as networks
from hyperframe import targets as targets
from hyperframe import types as types
from hyperframe.analysis.distillation.distill import distill
from hyperframe.analysis.distillation.student import DistillationOptions
from hyperframe.api import load, resume, train
from hyperframe.component import Component
from hyperframe.errors import HyperframeError, HyperframeWarning
from hyperframe.hookspecs import hookimpl
from hyperframe.metrics import Meter, Metric, over_networks
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

__all__ = [
    "ClassificationTask",
    "Component",
    "Data",
    "DistillationOptions",
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
    "hookimpl",
    "load",
    "option",
    "over_networks",
    "resume",
    "trace",
    "train",
]
