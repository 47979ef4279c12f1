"""The contracts between the engine and its components: a base class for each kind, and the data that they share.

What a base class declares without a default, a component must have: attributes that are only annotated, and abstract
methods. Whether a component has it is checked as soon as it is made (`hyperframe.config.kinds.check_component`).

- `data`: batches of weights and of what belongs to them; inputs with their labels
- `layout`: named tensors laid out in one vector
- `task`: data, loss and metrics
- `gauge`: one representative of each class of weights
- `entropy`: estimators of entropy
- `diversity`: terms of the loss, and what they may look at
- `objective`: the other parts of the loss
- `analysis`: what finds something out about a run
- `no_options`: the options of a component that has none
"""

from hyperframe.types.analysis import Analysis
from hyperframe.types.data import UNLABELLED, Data, Statistics, Weights
from hyperframe.types.diversity import DiversityInputs, DiversityTerm
from hyperframe.types.entropy import EntropyEstimator
from hyperframe.types.gauge import Gauge
from hyperframe.types.layout import Layout
from hyperframe.types.no_options import NoOptions
from hyperframe.types.objective import Objective
from hyperframe.types.task import Task

__all__ = [
    "UNLABELLED",
    "Analysis",
    "Data",
    "DiversityInputs",
    "DiversityTerm",
    "EntropyEstimator",
    "Gauge",
    "Layout",
    "NoOptions",
    "Objective",
    "Statistics",
    "Task",
    "Weights",
]
