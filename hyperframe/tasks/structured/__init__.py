"""Tasks whose outputs are not one vector: the base classes that a subclass gives its data.

- `dense_classification`: a class for each place, such as the pixels of an image or the steps of a sequence
- `dense_meter`: the meter of such networks and their ensembles
- `multi_label`: several labels for an example, each of which is there or not; their meter
- `heads`: a task made of named tasks, with a head and a loss for each; their meter
- `named_outputs`: outputs of modules by name, as one vector and back
"""

from hyperframe.tasks.structured.dense_classification import DenseClassificationTask
from hyperframe.tasks.structured.heads import Head, HeadsTask
from hyperframe.tasks.structured.multi_label import MultiLabelTask

__all__ = ["DenseClassificationTask", "Head", "HeadsTask", "MultiLabelTask"]
