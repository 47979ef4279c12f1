"""The base class of tasks with several labels for an example, each of which is there or not; their meter."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.errors import DataError
from hyperframe.metrics import Meter, Metric, over_networks
from hyperframe.tasks.calibration import disagreement, entropy_of, mutual_information, results_of
from hyperframe.types import Task

ACCURACY = Metric(name="accuracy", label="accuracy over labels", better="greater", percent=True)
DTYPES = (torch.bool, torch.int64, torch.float32, torch.float64)


class MultiLabelTask(Task):
    """Base class of tasks whose examples have any number of labels at a time; a subclass gives the data.

    Outputs are logits [..., labels], of each label that it is there; labels are 0 or 1 [..., labels], as bool, int64,
    float32 or float64. Given the input labels are taken as independent, so that the loss, the sum of the labels' binary
    cross-entropies, is −log p(labels | input). No shift of outputs leaves a prediction unchanged.

    Attributes:
        classes: the names of the labels, in their order; none where they are called by their numbers.

    Example:
        >>> task = MultiLabelTask()
        >>> task.num_outputs = 2
        >>> task.loss(torch.tensor([0.0, 0.0]), torch.tensor([1, 0]))      # 2 log 2
        tensor(1.3863)
    """

    shift_invariant = False
    likelihood = True
    metrics: Sequence[Metric] = (
        ACCURACY,
        Metric(name="exact", label="exact match", better="greater", percent=True),
        Metric(
            name="accuracy",
            label=ACCURACY.label,
            better="greater",
            of="ensemble",
            percent=True,
            mean_of="accuracy",
        ),
        Metric(name="exact", label="exact match", better="greater", of="ensemble", percent=True, mean_of="exact"),
        Metric(name="majority", label="majority vote over labels", better="greater", of="ensemble", percent=True),
        Metric(name="disagreement", label="disagreement of two networks", of="ensemble", percent=True),
        Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower", selects=True),
        Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower", of="ensemble", mean_of="nll"),
        Metric(name="ece", label="expected calibration error", better="lower", of="ensemble", percent=True),
    )
    score_metric = ACCURACY

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Training inputs [..., *input_shape] as they are."""
        return inputs

    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that labels are 0 or 1, [examples, labels]; raises `DataError`."""
        if labels.dtype not in DTYPES or labels.dim() != 2 or labels.shape[1] != self.num_outputs:
            raise DataError(
                f"{where}: labels must be bool, int64, float32 or float64 [examples, {self.num_outputs}], but are "
                f"{labels.dtype} {list(labels.shape)}"
            )
        odd = labels[(labels != 0) & (labels != 1)]
        if len(odd):
            raise DataError(f"{where}: labels must be 0 or 1, but one is {odd[0].item():g}")

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of every example in nats: [..., labels] twice give [...]."""
        return F.binary_cross_entropy_with_logits(outputs, labels.to(outputs.dtype), reduction="none").sum(-1)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The share of an example's labels with the right answer."""
        return ((outputs > 0) == (labels > 0)).to(outputs.dtype).mean(-1)

    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """The outputs: different ones mean different things."""
        return outputs

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities of the labels, each between 0 and 1 by itself."""
        return outputs.sigmoid()

    def averaged(self, outputs: Tensor) -> Tensor:
        """Logits of the mean probabilities: [networks, ..., labels] give [..., labels]."""
        return F.logsigmoid(outputs).logsumexp(0) - F.logsigmoid(-outputs).logsumexp(0)

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Logits of "not there" and "there": [..., examples, labels] give [..., examples · labels, 2]."""
        return torch.stack([torch.zeros_like(outputs), outputs], -1).flatten(-3, -2)

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Mean probabilities, majority vote (0 of equally many), and two uncertainties of each label in nats.

        Of each label `entropy` is that of its mean probability, `mutual_information` the part of it that comes from the
        networks' disagreement. Probabilities [networks, examples, labels] give [examples, labels] each.
        """
        mean, entropy = predictions.mean(0), entropy_of(_pairs(predictions.mean(0)))
        return {
            "probabilities": mean,
            "vote": (2 * (predictions > 0.5).sum(0) > len(predictions)).long(),
            "entropy": entropy,
            "mutual_information": mutual_information(entropy, entropy_of(_pairs(predictions)).mean(0)),
        }

    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter."""
        return MultiLabelMeter(networks, examples, self.num_outputs, device)


def _pairs(probabilities: Tensor) -> Tensor:
    """Probabilities of "not there" and "there", [..., 2]."""
    return torch.stack([1 - probabilities, probabilities], -1)


class MultiLabelMeter(Meter):
    """Metrics of networks that say of each label whether it is there, and of their ensemble.

    `accuracy` is over all labels of all examples, `exact` the share of examples with all labels right; those of the
    ensemble are of the mean probabilities of single labels, and so is its `nll`, the mean over the examples of the sum
    over the labels. `majority` is by votes, `disagreement` the probability that two different networks give different
    answers about a label, and `ece` the calibration error of answers, "there" or not, with their mean probabilities.

    Memory is networks + examples × labels, whatever the sizes of the chunks.

    Args:
        networks: the number of networks N.
        examples: the number of examples.
        labels: the number of labels.
        device: where outputs come from.

    Example:
        >>> meter = MultiLabelMeter(networks=1, examples=2, labels=2, device=torch.device("cpu"))
        >>> logits = torch.tensor([[[9.0, 9.0], [9.0, -9.0]]])
        >>> meter.update(logits, torch.tensor([[1, 1], [1, 1]]), first_network=0, first_example=0)
        >>> meter.result()["accuracy"]["mean"], meter.result()["exact"]["mean"]
        (0.75, 0.5)
    """

    def __init__(self, networks: int, examples: int, labels: int, device: torch.device) -> None:
        self._right, self._exact, self._nll = (
            torch.zeros(networks, dtype=torch.float64, device=device) for _ in range(3)
        )
        self._votes = torch.zeros(examples, labels, dtype=torch.int32, device=device)
        self._probability = torch.zeros(examples, labels, dtype=torch.float64, device=device)
        self._labels = torch.zeros(examples, labels, dtype=torch.bool, device=device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in logits [networks, examples, labels] and labels [examples, labels] of a chunk."""
        networks, examples, _ = outputs.shape
        rows = slice(first_network, first_network + networks)
        items = slice(first_example, first_example + examples)
        there, answers, logits = labels > 0, outputs > 0, outputs.double()
        right = answers == there
        self._right[rows] += right.double().mean(-1).sum(1)
        self._exact[rows] += right.all(-1).double().sum(1)
        self._nll[rows] -= F.logsigmoid(torch.where(there, logits, -logits)).sum((1, 2))
        self._votes[items] += answers.sum(0).int()
        self._probability[items] += logits.sigmoid().sum(0)
        self._labels[items] = there

    def result(self) -> dict[str, Any]:
        """Figures of the networks (`accuracy`, `exact`: mean, std, min, max; `nll`) and of the ensemble."""
        networks, (examples, labels) = len(self._right), self._labels.shape
        mean = self._probability / networks
        together = results_of(_pairs(mean).flatten(0, 1), self._labels.flatten().long())
        votes = torch.stack([networks - self._votes, self._votes], -1).flatten(0, 1)
        return {
            "accuracy": over_networks(self._right / examples),
            "exact": over_networks(self._exact / examples),
            "nll": float(self._nll.mean() / examples),
            "ensemble": {
                "accuracy": together["accuracy"],
                "exact": float(((mean > 0.5) == self._labels).all(-1).double().mean()),
                "majority": float(((2 * self._votes > networks) == self._labels).double().mean()),
                "nll": labels * together["nll"],
                "ece": together["ece"],
                "disagreement": disagreement(votes, networks),
            },
        }
