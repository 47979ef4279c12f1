"""The meter of networks that give a class for each place: accuracy, intersection over union, calibration."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.metrics import Meter, over_networks
from hyperframe.tasks.calibration import disagreement, results_of
from hyperframe.tasks.confusion import confusion_matrix, mean_iou
from hyperframe.types import UNLABELLED


class DenseMeter(Meter):
    """Metrics of classes at places, of networks and of their ensemble, over all labelled places of all examples.

    `iou` is the mean over classes of intersection over union: of a class, the number of places that have it as label
    and as answer, over the number of those that have it as either. Classes that are neither a label nor an answer
    anywhere are left out of the mean. That of the ensemble is of the mean probabilities. `disagreement` and `ece` are
    those of `ClassificationMeter`, with places for examples.

    Memory is networks × classes² + examples × classes × places, whatever the sizes of the chunks. Of equally many
    votes the lower class wins.

    References: M. Everingham et al. (2010), The Pascal Visual Object Classes Challenge, for intersection over union.

    Args:
        networks: the number of networks N.
        examples: the number of examples.
        output_shape: of one example, (classes, *places).
        device: where outputs come from.

    Example:
        >>> meter = DenseMeter(networks=1, examples=1, output_shape=(2, 4), device=torch.device("cpu"))
        >>> answers = torch.tensor([1, 1, 0, 0])                                      # of four places
        >>> logits = 9.0 * F.one_hot(answers, 2).T[None, None]
        >>> meter.update(logits, torch.tensor([[1, 0, 0, -1]]), first_network=0, first_example=0)
        >>> meter.result()["iou"]["mean"]                                             # ½ of either class
        0.5
    """

    def __init__(self, networks: int, examples: int, output_shape: Sequence[int], device: torch.device) -> None:
        classes, *places = output_shape
        self._nll = torch.zeros(networks, dtype=torch.float64, device=device)
        self._confusion = torch.zeros(networks, classes, classes, dtype=torch.int64, device=device)
        self._votes = torch.zeros(examples, *places, classes, dtype=torch.int32, device=device)
        self._probability = torch.zeros(examples, *places, classes, dtype=torch.float64, device=device)
        self._labels = torch.full((examples, *places), UNLABELLED, device=device)

    def update(self, outputs: Tensor, labels: Tensor, first_network: int, first_example: int) -> None:
        """Take in logits [networks, examples, classes, *places] and labels [examples, *places] of a chunk."""
        networks, examples, classes = outputs.shape[:3]
        rows = slice(first_network, first_network + networks)
        items = slice(first_example, first_example + examples)
        logits = outputs.movedim(2, -1)
        log_probability, answers = logits.double().log_softmax(-1), logits.argmax(-1)
        seen = labels != UNLABELLED
        own = labels[seen]
        self._nll[rows] -= log_probability[:, seen].gather(-1, own.expand(networks, -1)[..., None])[..., 0].sum(1)
        self._confusion[rows] += confusion_matrix(own, answers[:, seen], classes)
        self._votes[items] += F.one_hot(answers, classes).sum(0).int()
        self._probability[items] += log_probability.exp().sum(0)
        self._labels[items] = labels

    def result(self) -> dict[str, Any]:
        """Figures of the networks (`iou`, `accuracy`: mean, std, min, max; `nll`) and of the ensemble."""
        networks, classes = len(self._nll), self._votes.shape[-1]
        seen = self._labels != UNLABELLED
        labels, votes, mean = self._labels[seen], self._votes[seen], self._probability[seen] / networks
        together = results_of(mean, labels)
        return {
            "iou": over_networks(mean_iou(self._confusion)),
            "accuracy": over_networks(self._confusion.diagonal(dim1=1, dim2=2).sum(1).double() / len(labels)),
            "nll": float(self._nll.mean() / len(labels)),
            "ensemble": {
                "iou": float(mean_iou(confusion_matrix(labels, mean.argmax(-1), classes))),
                "majority": float((votes.argmax(-1) == labels).double().mean()),
                "mean_probability": together["accuracy"],
                "nll": together["nll"],
                "ece": together["ece"],
                "disagreement": disagreement(votes, networks),
            },
        }
