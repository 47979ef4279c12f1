"""The base class of tasks with a class for each place: pixels of an image, steps of a sequence with padding."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.errors import DataError
from hyperframe.metrics import Meter, Metric
from hyperframe.tasks.calibration import summarise_classes
from hyperframe.tasks.own_data.class_names import one_hot_axis
from hyperframe.tasks.structured.dense_meter import DenseMeter
from hyperframe.types import UNLABELLED, Task

ACCURACY = Metric(name="accuracy", label="accuracy of places", better="greater", percent=True)


class DenseClassificationTask(Task):
    """Base class of tasks with a label for each place of an example, and softmax outputs; a subclass gives the data.

    Outputs are logits [..., classes, *places], as torch's layers and losses have them; labels are int64 [..., *places].
    Places are whatever `output_places` says: (height, width) for segmentation, (time,) for sequences. A module whose
    classes stand last ends with `.movedim(-1, 1)`.

    A place with the label −1 (`UNLABELLED`) does not count, in losses and metrics alike: the padding behind a short
    sequence, a pixel that nobody labelled. Of an example without a single label, loss and score are 0.

    The loss of an example is the mean over its labelled places, not the sum: losses, rates and λ are then of the size
    that they have for a single label, whatever the number of places, and examples count alike however many of their
    places are labelled. −log p(label | input) would be the sum, with places taken as independent given the input; so
    `likelihood` is False, the loss is no part of an evidence bound, and `nll` is in nats for each place.

    Example:
        >>> task = DenseClassificationTask()
        >>> task.num_outputs, task.output_places = 2, (3,)
        >>> logits = torch.tensor([[0.0, 0.0, 9.0], [0.0, 0.0, 0.0]])      # [classes, time]
        >>> task.loss(logits, torch.tensor([0, 1, -1]))                    # the last step is padding
        tensor(0.6931)
    """

    shift_invariant = True
    likelihood = False
    metrics: Sequence[Metric] = (
        Metric(name="iou", label="mean IoU", better="greater", percent=True, selects=True),
        ACCURACY,
        Metric(name="iou", label="mean IoU", better="greater", of="ensemble", percent=True, mean_of="iou"),
        Metric(name="majority", label="majority vote of places", better="greater", of="ensemble", percent=True),
        Metric(
            name="mean_probability",
            label="mean probability of places",
            better="greater",
            of="ensemble",
            percent=True,
            mean_of="accuracy",
        ),
        Metric(name="disagreement", label="disagreement of two networks", of="ensemble", percent=True),
        Metric(name="nll", label="negative log-likelihood of a place", unit="nats", better="lower"),
        Metric(
            name="nll",
            label="negative log-likelihood of a place",
            unit="nats",
            better="lower",
            of="ensemble",
            mean_of="nll",
        ),
        Metric(name="ece", label="expected calibration error", better="lower", of="ensemble", percent=True),
    )
    score_metric = ACCURACY

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Training inputs [..., *input_shape] as they are; what moves places moves labels too, in `augment_data`."""
        return inputs

    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that labels are int64 [examples, *places], numbers of classes or −1, some of them not −1.

        Raises:
            DataError: they are not.
        """
        if labels.dtype != torch.int64 or tuple(labels.shape[1:]) != tuple(self.output_places):
            wanted = ", ".join(map(str, ("examples", *self.output_places)))
            axis = one_hot_axis(labels)
            way = "" if axis is None else f"; they are one-hot along axis {axis}: take labels.argmax({axis})"
            raise DataError(
                f"{where}: labels must be int64 [{wanted}], but are {labels.dtype} {list(labels.shape)}{way}"
            )
        low, high = int(labels.min()), int(labels.max())
        if low < UNLABELLED or high >= self.num_outputs:
            raise DataError(
                f"{where}: labels must lie between 0 and {self.num_outputs - 1}, or be {UNLABELLED} where there is "
                f"none, but go from {low} to {high}"
            )
        if high == UNLABELLED:
            raise DataError(f"{where}: all labels are {UNLABELLED}; there is nothing to compare with")

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of an example's labelled places: [..., classes, *places] and [..., *places] give [...]."""
        rows = outputs.reshape(-1, *self.output_shape)
        own = labels.reshape(-1, *self.output_places)
        losses = F.cross_entropy(rows, own, ignore_index=UNLABELLED, reduction="none")
        return self._mean(losses, own).view(self._examples(labels))

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The share of an example's labelled places with the right answer."""
        right = (outputs.argmax(self._axis) == labels).to(outputs.dtype)  # no class is called −1
        own = labels.reshape(-1, *self.output_places)
        return self._mean(right.reshape_as(own), own).view(self._examples(labels))

    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """Logits with mean zero at each place: equal exactly where the probabilities are."""
        return outputs - outputs.mean(self._axis, keepdim=True)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities of the classes at each place."""
        return outputs.softmax(self._axis)

    def averaged(self, outputs: Tensor) -> Tensor:
        """Logarithms of the mean probabilities: [networks, ..., classes, *places] give [..., classes, *places]."""
        return outputs.log_softmax(self._axis).logsumexp(0) - math.log(len(outputs))

    def class_logits(self, outputs: Tensor) -> Tensor:
        """The logits of each place: [..., examples, classes, *places] give [..., examples · places, classes]."""
        rows = outputs.movedim(self._axis, -1)
        return rows.flatten(-2 - len(self.output_places), -2)

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Mean probabilities, majority vote, and maps of two uncertainties in nats.

        Of each place `entropy` is H[p̄], with p̄ the mean probabilities, and `mutual_information` H[p̄] − mean H[p] the
        part of it that comes from the networks' disagreement. Probabilities [networks, examples, classes, *places] give
        `probabilities` [examples, classes, *places], and the others [examples, *places]; of equally many votes the
        lower class wins.
        """
        found = summarise_classes(predictions.movedim(2, -1))
        return {**found, "probabilities": found["probabilities"].movedim(-1, 1)}

    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter."""
        return DenseMeter(networks, examples, self.output_shape, device)

    @property
    def _axis(self) -> int:
        """The axis of classes, counted from the end."""
        return -1 - len(self.output_places)

    def _examples(self, labels: Tensor) -> torch.Size:
        return labels.shape[: labels.dim() - len(self.output_places)]

    @staticmethod
    def _mean(values: Tensor, labels: Tensor) -> Tensor:
        """The mean of values [rows, *places] over labelled places, [rows]; 0 where there are none."""
        labelled = labels != UNLABELLED
        total = (values * labelled).flatten(1).sum(1)
        return total / labelled.flatten(1).sum(1).clamp(min=1)
