"""The base class of tasks made of named tasks, each with a head of the network and a loss of its own; their meter."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from hyperframe.errors import DataError
from hyperframe.metrics import Meter, Metric
from hyperframe.types import UNLABELLED, Layout, Task

LOSS = Metric(name="loss", label="weighted loss of all heads", better="lower", selects=True)


@attrs.frozen(kw_only=True)
class Head:
    """One of the tasks that a task of several heads is made of.

    Attributes:
        task: its loss, metrics and predictions; its own data are not asked for.
        label_shape: of one example's label, such as () for a class and (values,) for values.
        label_dtype: of labels as the task takes them.
        weight: what its loss counts.
    """

    task: Task
    label_shape: tuple[int, ...] = ()
    label_dtype: torch.dtype = torch.int64
    weight: float = 1.0


class HeadsTask(Task):
    """Base class of tasks made of named tasks; a subclass gives the data.

    A network returns a mapping of tensors, one for each head, such as {"digit": [examples, 10], "size": [examples, 1]},
    or a tuple in the order of the heads. They are laid out in one vector, which the engine carries, and so are labels,
    in float64: `layout` and `labels` say where a head's are, `pack_labels` makes `Data.y` of labels by name, and
    `layout.split` takes outputs and predictions apart again.

    An example need not have a label in each head: where a head's label is a class, −1 (`UNLABELLED`) says that there is
    none, and a head of places has it at all places. Its loss in that head is then 0, so that losses that are negative
    log-likelihoods stay those of the labels that there are, and metrics of the head are of the other examples. A head
    with few labels thus counts little, which its weight can change.

    The loss is the sum of the heads' losses times their weights, L = Σ_h w_h L_h; it is a negative log-likelihood where
    all heads' are and all weights are 1. The score is that of the first head. Metrics and results of summaries are
    those of the heads, called HEAD.NAME; the best checkpoint is that with the lowest loss.

    Args:
        heads: by name, in the order of the outputs.

    Attributes:
        heads: likewise.
        layout: the places of the heads' outputs, each [num_outputs, *output_places], in the vector.
        labels: the places of their labels.

    Raises:
        ValueError: there is no head.
    """

    layout: Layout

    def __init__(self, heads: Mapping[str, Head]) -> None:
        if not heads:
            raise ValueError("a task of several heads needs one or more")
        self.heads = dict(heads)
        tasks = {name: head.task for name, head in self.heads.items()}
        self.layout = Layout({name: task.output_shape for name, task in tasks.items()})
        self.labels = Layout({name: head.label_shape for name, head in self.heads.items()})
        self.num_outputs = self.layout.size
        self.part_classes: Mapping[str, Sequence[str]] = {
            name: tuple(task.classes) for name, task in tasks.items() if task.classes
        }
        self.shift_invariant = all(task.shift_invariant for task in tasks.values())
        self.likelihood = all(head.task.likelihood and head.weight == 1 for head in self.heads.values())
        self.metrics: Sequence[Metric] = (
            *(_named(metric, name) for name, task in tasks.items() for metric in task.metrics),
            LOSS,
        )
        first, task = next(iter(tasks.items()))
        self.score_metric = attrs.evolve(task.score_metric, label=f"{first}: {task.score_metric.label}", head=first)

    def pack_labels(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Lay labels of all heads, each [examples, *label_shape], out as `Data.y`: float64 [examples, entries].

        Raises:
            DataError: there are labels of other heads, or of other shapes.
        """
        if set(labels) != set(self.heads):
            raise DataError(
                f"labels must be of heads {', '.join(self.heads)}, but are of {', '.join(labels) or 'none'}"
            )
        for name, head in self.heads.items():
            if tuple(labels[name].shape[1:]) != tuple(head.label_shape):
                wanted = ["examples", *head.label_shape]
                raise DataError(f"head '{name}': labels must be {wanted}, but are {list(labels[name].shape)}")
        return self.labels.pack({name: value.double() for name, value in labels.items()})

    def labels_of(self, labels: Tensor) -> dict[str, Tensor]:
        """Take labels [..., entries] apart: for each head [..., *label_shape], as its task takes them."""
        parts = self.labels.split(labels)
        return {name: value.to(self.heads[name].label_dtype) for name, value in parts.items()}

    @property
    def label_places(self) -> tuple[int, ...]:
        """The places of the first head that has any."""
        return next((head.task.label_places for head in self.heads.values() if head.task.label_places), ())

    def blank_labels(self, *sizes: int) -> Tensor:
        """Labels [*sizes, entries] of zeros."""
        return torch.zeros(*sizes, self.labels.size, dtype=torch.float64)

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Training inputs [..., *input_shape] as they are."""
        return inputs

    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that labels are float64 [examples, entries], and each head's such as its task takes.

        Raises:
            DataError: they are not.
        """
        if labels.dtype != torch.float64 or tuple(labels.shape[1:]) != (self.labels.size,):
            raise DataError(
                f"{where}: labels of heads {', '.join(self.heads)} must be float64 [examples, {self.labels.size}], as "
                f"pack_labels makes them, but are {labels.dtype} {list(labels.shape)}"
            )
        for name, own in self.labels_of(labels).items():
            task, here = self.heads[name].task, f"{where}, head '{name}'"
            seen = own[own != UNLABELLED] if task.skips_unlabelled else own
            if not len(seen):
                raise DataError(
                    f"{here}: all labels are {UNLABELLED}; a head needs labels in each split: give more examples one, "
                    "or divide them otherwise"
                )
            task.check_labels(seen, here)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The weighted sum of the heads' losses: [..., num_outputs] and [..., entries] give [...]."""
        parts, own = self.layout.split(outputs), self.labels_of(labels)
        losses = [head.weight * head.task.loss(parts[name], own[name]) for name, head in self.heads.items()]
        return torch.stack(losses).sum(0)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The score of the first head."""
        name = next(iter(self.heads))
        return self.heads[name].task.score(self.layout.split(outputs)[name], self.labels_of(labels)[name])

    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """Each head's canonical outputs."""
        parts = self.layout.split(outputs).items()
        return self.layout.pack({name: self.heads[name].task.canonical_outputs(own) for name, own in parts})

    def predictions(self, outputs: Tensor) -> Tensor:
        """Each head's predictions; `Networks.predict` gives them by name."""
        parts = self.layout.split(outputs).items()
        return self.layout.pack({name: self.heads[name].task.predictions(own) for name, own in parts})

    def averaged(self, outputs: Tensor) -> Tensor:
        """Each head's outputs that stand for its mean prediction: [networks, ..., outputs] give [..., outputs]."""
        parts = self.layout.split(outputs).items()
        return self.layout.pack({name: self.heads[name].task.averaged(own) for name, own in parts})

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Each head's summary, its results called HEAD.NAME."""
        return {
            f"{name}.{key}": value
            for name, own in self.layout.split(predictions).items()
            for key, value in self.heads[name].task.summarise(own).items()
        }

    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter."""
        return HeadsMeter(self, networks, examples, device)


def _named(metric: Metric, head: str) -> Metric:
    """A head's metric among those of all heads; none of them selects."""
    of = f"{head}.{metric.mean_of}" if metric.mean_of else ""
    name, label = f"{head}.{metric.name}", f"{head}: {metric.label}"
    return attrs.evolve(metric, name=name, label=label, mean_of=of, selects=False, head=head)


class HeadsMeter(Meter):
    """The meters of all heads, and the mean weighted loss of single networks.

    Args:
        task: whose heads they are.
        networks: the number of networks.
        examples: the number of examples.
        device: where outputs come from.
    """

    def __init__(self, task: HeadsTask, networks: int, examples: int, device: torch.device) -> None:
        self._task = task
        self._meters = {name: head.task.meter(networks, examples, device) for name, head in task.heads.items()}
        self._losses = torch.zeros(networks, dtype=torch.float64, device=device)
        self._examples = examples

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in outputs [networks, examples, num_outputs] and labels [examples, entries] of a chunk."""
        parts, own = self._task.layout.split(outputs), self._task.labels_of(labels)
        for name, meter in self._meters.items():
            meter.update(parts[name], own[name], first_network, first_example)
        losses = self._task.loss(outputs.double(), labels.expand(len(outputs), *labels.shape))
        self._losses[first_network : first_network + len(outputs)] += losses.sum(1)

    def result(self) -> dict[str, Any]:
        """Figures of all heads, HEAD.NAME, of networks and of the ensemble, and `loss`."""
        found: dict[str, Any] = {}
        together: dict[str, Any] = {}
        for name, meter in self._meters.items():
            own = meter.result()
            together |= {f"{name}.{key}": value for key, value in own.pop("ensemble", {}).items()}
            found |= {f"{name}.{key}": value for key, value in own.items()}
        return {**found, "loss": float(self._losses.mean() / self._examples), "ensemble": together}
