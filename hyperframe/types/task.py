"""The base class of tasks: data, loss and metrics."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hyperframe.metrics import Meter, Metric
from hyperframe.types.data import Data
from hyperframe.types.layout import Layout


class Task:
    """Data, loss and metrics; it also says which symmetry the outputs have. The base class of tasks.

    `ClassificationTask`, `RegressionTask` and those of `hyperframe.tasks.structured` have all but the data. Labels are
    whatever the data's `y` holds for an example, such as a number of a class or a vector. Outputs of an example are one
    tensor [num_outputs, *output_places], below [*outputs].

    Attributes:
        name: the task's name.
        input_shape: shape of one input.
        num_outputs: the number of outputs that the loss takes, at each place.
        output_places: the axes behind them, such as (height, width) where each pixel has its own outputs.
        layout: the places of named parts in the vector of outputs, such as those of several heads; users get and give
            a mapping of tensors by these names. None where outputs are one tensor for users as well.
        shift_invariant: True where adding one number to all outputs of a place changes nothing (softmax).
        likelihood: True where the loss of an example is −log p(label | input) in nats, all constants included.
        skips_unlabelled: whether loss, score and meter leave out an example whose label is −1 (`UNLABELLED`), as it may
            be in a head of several.
        metrics: what its meter finds, in the order in which tables show it; exactly one of them `selects`.
        score_metric: what `score` measures, such as the accuracy.
        classes: names of the classes, in the order of the outputs; empty where there are none.
        part_classes: the same of each part of the layout that has any.
        standardised_inputs: the `hyperframe.tasks.standardisation.Standardisation` of inputs, which `data` gives in
            their own units; or None.
        standardised_labels: that of labels, where outputs are of standardised ones; or None.
        pixels: whether inputs were bytes, divided by 255; None where that is not known.
        example_weights: what each training example counts in the loss, [examples]; None: 1.
        facts: plain data that say what the task is, where its data do, see `Component.restore`; or None.
    """

    name: str
    input_shape: tuple[int, ...]
    num_outputs: int
    output_places: tuple[int, ...] = ()
    layout: Layout | None = None
    shift_invariant: bool
    likelihood: bool
    skips_unlabelled: bool = False
    metrics: Sequence[Metric]
    score_metric: Metric
    classes: Sequence[str] = ()
    part_classes: Mapping[str, Sequence[str]] = {}
    standardised_inputs: Any = None
    standardised_labels: Any = None
    pixels: bool | None = None
    example_weights: Tensor | None = None
    facts: Mapping[str, Any] | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one example's outputs: (num_outputs, *output_places)."""
        return (self.num_outputs, *self.output_places)

    @property
    def label_places(self) -> tuple[int, ...]:
        """The axes of places that have labels, which must be moved where inputs are moved along theirs."""
        return self.output_places

    def named(self, outputs: Tensor) -> Any:
        """Outputs or predictions [..., *outputs] as users get them: by name where the task has a layout."""
        return outputs if self.layout is None else self.layout.split(outputs)

    @property
    def class_names(self) -> Sequence[str] | Mapping[str, Sequence[str]]:
        """Names of the classes as `named` gives what is of them: by name where the task has a layout."""
        return tuple(self.classes) if self.layout is None else self.part_classes

    def blank_labels(self, *sizes: int) -> Tensor:
        """Labels [*sizes, ...] of zeros, for what asks for their shape and type alone.

        By default they are numbers of classes, of places too, where `shift_invariant` says that the loss has a softmax,
        or else a value for each output.
        """
        if self.shift_invariant:
            return torch.zeros(*sizes, *self.output_places, dtype=torch.int64)
        return torch.zeros(*sizes, self.num_outputs)

    def aspects(self) -> Sequence[float] | None:
        """Least and greatest width over height of its images before scaling, or none; None: that of `input_shape`."""
        return None

    @abstractmethod
    def data(self, split: str) -> Data:
        """The split "train", "validation" or "test", on the CPU; raises `DataError` where it cannot be had."""

    @abstractmethod
    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Vary training inputs [..., *input_shape] at random, by numbers from `rng`; or return them as they are."""

    def augment_data(self, data: Data, rng: torch.Generator) -> Data:
        """Vary training examples [...] at random: by default inputs as `augment` does, and no labels.

        A task with labels of places moves both here, where it moves any; that `augment` moves inputs alone is refused.
        """
        return Data(self.augment(data.x, rng), data.y)

    @abstractmethod
    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that all labels are such as the loss takes; raises `DataError` that begins with `where`."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Loss of every example: outputs [..., *outputs] and labels [..., *label] give [...]."""

    @abstractmethod
    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Score each example for the progress line, such as 1.0 for a right answer; without gradient."""

    @abstractmethod
    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """One representative of all outputs that mean the same, such as centred logits."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs into what a user wants, such as probabilities, in the same shape."""

    @abstractmethod
    def averaged(self, outputs: Tensor) -> Tensor:
        """The outputs that stand for the networks' mean prediction: [networks, ..., *outputs] give [..., *outputs]."""

    def class_logits(self, outputs: Tensor) -> Tensor | None:
        """Logits of each answer's classes: [..., examples, *outputs] give [..., answers, classes]; None without any."""
        return None

    @abstractmethod
    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Summarise an ensemble's answer to each example, and how sure it is.

        Predictions [networks, examples, *outputs] give named results [examples, ...].
        """

    @abstractmethod
    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter for so many networks and examples, which finds all of `metrics`."""
