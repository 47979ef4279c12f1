"""The base class of classification tasks: cross-entropy, accuracy, centred logits; the meter of their ensembles."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from hyperframe.errors import ConfigError, DataError
from hyperframe.metrics import Meter, Metric, over_networks
from hyperframe.tasks.calibration import disagreement, results_of, summarise_classes
from hyperframe.types import UNLABELLED, Task

ACCURACY = Metric(name="accuracy", better="greater", percent=True, selects=True)


class ClassificationTask(Task):
    """Base class of tasks with one label an example and softmax outputs; a subclass gives the data.

    Outputs are logits [..., classes], labels int64 [...]. In a head of several tasks −1 says that an example has no
    label there: loss and score are 0, and the meter leaves it out.

    Attributes:
        classes: the names of the classes, in their order; none where they are called by their numbers.
    """

    shift_invariant = True
    likelihood = True
    skips_unlabelled = True
    metrics: Sequence[Metric] = (
        ACCURACY,
        Metric(name="majority", label="majority vote", better="greater", of="ensemble", percent=True),
        Metric(
            name="mean_probability",
            label="mean probability",
            better="greater",
            of="ensemble",
            percent=True,
            mean_of="accuracy",
        ),
        Metric(name="disagreement", label="disagreement of two networks", of="ensemble", percent=True),
        Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower"),
        Metric(name="nll", label="negative log-likelihood", unit="nats", better="lower", of="ensemble", mean_of="nll"),
        Metric(name="ece", label="expected calibration error", better="lower", of="ensemble", percent=True),
    )
    score_metric = ACCURACY

    def augment(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Training inputs [..., *input_shape] as they are."""
        return inputs

    def check_labels(self, labels: Tensor, where: str) -> None:
        """Check that labels are int64 [examples], each the number of a class; raises `DataError`."""
        if labels.dtype != torch.int64 or labels.dim() != 1:
            raise DataError(f"{where}: labels must be int64 [examples], but are {labels.dtype} {list(labels.shape)}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_outputs:
            raise DataError(
                f"{where}: labels must lie between 0 and {self.num_outputs - 1}, but go from {low} to {high}"
            )

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of every example (Eq. 4): [..., classes] and [...] give [...]."""
        flat = F.cross_entropy(outputs.flatten(0, -2), labels.flatten(), ignore_index=UNLABELLED, reduction="none")
        return flat.view(labels.shape)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """1 for every right answer, 0 for every wrong one."""
        return (outputs.argmax(-1) == labels).to(outputs.dtype)  # no class is called −1

    def canonical_outputs(self, outputs: Tensor) -> Tensor:
        """Logits with mean zero: equal exactly where the probabilities are."""
        return outputs - outputs.mean(-1, keepdim=True)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Probabilities."""
        return outputs.softmax(-1)

    def averaged(self, outputs: Tensor) -> Tensor:
        """Logarithms of the mean probabilities p̄, which are logits of p̄: [networks, ..., classes] give [...]."""
        return outputs.log_softmax(-1).logsumexp(0) - math.log(len(outputs))

    def class_logits(self, outputs: Tensor) -> Tensor:
        """The outputs."""
        return outputs

    def summarise(self, predictions: Tensor) -> dict[str, Tensor]:
        """Mean probabilities, majority vote, and two uncertainties of each example, in nats.

        `entropy` H[p̄] is that of the mean probabilities p̄, `mutual_information` H[p̄] − mean H[p] the part of it
        that comes from the networks' disagreement. Probabilities [networks, examples, classes] give [examples, ...]; of
        equally many votes the lower class wins.

        References: N. Houlsby, F. Huszár, Z. Ghahramani, M. Lengyel (2011), Bayesian Active Learning.
        """
        return summarise_classes(predictions)

    def meter(self, networks: int, examples: int, device: torch.device) -> Meter:
        """An empty meter."""
        return ClassificationMeter(networks, examples, self.num_outputs, device)


def class_logits(task: Task | None, outputs: Tensor, needed_by: str) -> Tensor:
    """Return the logits of each answer's classes, [..., examples, *outputs] to [..., answers, classes].

    Raises:
        ConfigError: the task has no classes.
    """
    assert task is not None
    found = task.class_logits(outputs)
    if found is None:
        raise ConfigError(f"{needed_by} needs probabilities of classes, which task '{task.name}' does not have")
    return found


class ClassificationMeter(Meter):
    """Accuracies of networks, and of their ensemble by majority vote and by mean probability.

    `disagreement` is the probability that two different networks of the ensemble give different answers to an example.
    `ece` is the expected calibration error of the mean probabilities: examples are put into 15 equal bins (a, b] by the
    probability of their most probable class; the error is the mean over the examples of |accuracy − confidence| of
    their bin, with confidence the mean of these probabilities.

    All of them are of the examples that have a label, which −1 is not.

    Memory is (networks + examples × classes), whatever the sizes of the chunks. Of equally many votes the lower class
    wins.

    References: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration of Modern Neural Networks (`ece`).

    Args:
        networks: the number of networks N.
        examples: the number of examples.
        classes: the number of classes.
        device: where outputs come from.

    Example:
        >>> meter = ClassificationMeter(networks=3, examples=1, classes=2, device=torch.device("cpu"))
        >>> logits = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[9.0, 0.0]]])     # two say 1, a sure one says 0
        >>> meter.update(logits, torch.tensor([1]), first_network=0, first_example=0)
        >>> meter.result()["ensemble"]["majority"], meter.result()["ensemble"]["mean_probability"]
        (1.0, 0.0)
    """

    def __init__(self, networks: int, examples: int, classes: int, device: torch.device) -> None:
        self._right = torch.zeros(networks, dtype=torch.int64, device=device)
        self._nll = torch.zeros(networks, dtype=torch.float64, device=device)
        self._votes = torch.zeros(examples, classes, dtype=torch.int32, device=device)
        self._probability = torch.zeros(examples, classes, dtype=torch.float64, device=device)
        self._labels = torch.full((examples,), UNLABELLED, device=device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in logits [networks, examples, classes] and labels [examples] of a chunk."""
        networks, examples, classes = outputs.shape
        rows = slice(first_network, first_network + networks)
        places = slice(first_example, first_example + examples)
        log_probability = outputs.double().log_softmax(-1)
        answers = outputs.argmax(-1)
        chosen = labels.clamp(min=0).expand(networks, examples)[..., None]
        likelihood = rearrange(log_probability.gather(-1, chosen), "n examples 1 -> n examples")
        self._right[rows] += (answers == labels).sum(1)
        self._nll[rows] -= likelihood.masked_fill(labels == UNLABELLED, 0).sum(1)
        self._votes[places] += F.one_hot(answers, classes).sum(0).int()
        self._probability[places] += log_probability.exp().sum(0)
        self._labels[places] = labels

    def result(self) -> dict[str, Any]:
        """Figures of the networks (mean, std, min, max) and of the ensemble."""
        networks, seen = len(self._right), self._labels != UNLABELLED
        labels, votes, mean = self._labels[seen], self._votes[seen], self._probability[seen] / networks
        accuracy = self._right.double() / len(labels)
        majority = (votes.argmax(1) == labels).double().mean()
        together = results_of(mean, labels)
        return {
            "accuracy": over_networks(accuracy),
            "nll": float(self._nll.mean() / len(labels)),
            "ensemble": {
                "majority": float(majority),
                "mean_probability": together["accuracy"],
                "nll": together["nll"],
                "ece": together["ece"],
                "disagreement": disagreement(votes, networks),
            },
        }
