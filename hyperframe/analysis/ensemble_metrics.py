"""Metrics of ensembles as they grow: of the first n networks, for several n in one pass."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.tasks.calibration import (
    CALIBRATION_BINS,
    at_temperature,
    brier_scores,
    calibration_bins,
    disagreement,
    entropy_of,
    fit_temperature,
    log_likelihoods,
    mutual_information,
    results_of,
)

RULES = ("majority", "mean_probability", "most_confident")
"""How an ensemble answers: the class with most votes, with the highest mean probability, or of the most confident
member."""


class GrowthMeter:
    """Accumulates metrics of single networks, and of ensembles of the first n of them for each n of `sizes`.

    Memory grows with networks + sizes × examples × classes, whatever the sizes of the chunks. Where two classes have
    equally many votes the lower one wins; of equally confident members the first one counts.

    Args:
        networks: the number of networks.
        sizes: the sizes n of the ensembles, in increasing order, at most `networks`.
        labels: int64 [examples].
        classes: the number of classes.

    Example:
        >>> meter = GrowthMeter(networks=3, sizes=[1, 3], labels=torch.tensor([1]), classes=2)
        >>> meter.update(torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[9.0, 0.0]]]), first_network=0, first_example=0)
        >>> [one["accuracy"] for one in meter.ensembles()["majority"]]     # the third one is sure, and wrong
        [1.0, 1.0]
        >>> [one["accuracy"] for one in meter.ensembles()["most_confident"]]
        [1.0, 0.0]
    """

    def __init__(self, networks: int, sizes: Sequence[int], labels: Tensor, classes: int) -> None:
        if list(sizes) != sorted(set(sizes)) or not 1 <= sizes[0] <= sizes[-1] <= networks:
            raise ValueError(f"sizes must grow from 1 or more to at most {networks}, but are {list(sizes)}")
        self.sizes = list(sizes)
        self._labels = labels
        device, examples, buckets = labels.device, len(labels), len(sizes)
        numbers = partial(torch.zeros, dtype=torch.float64, device=device)
        # Network i counts in all ensembles from the first on that is larger than i; sums over these come at the end.
        self._bucket = torch.bucketize(torch.arange(networks, device=device), torch.tensor(sizes, device=device) - 1)
        self._probability = numbers(buckets, examples, classes)
        self._votes = torch.zeros(buckets, examples, classes, dtype=torch.int32, device=device)
        self._entropy = numbers(buckets, examples)
        self._confidence = numbers(buckets, examples) - 1
        self._confident = numbers(buckets, examples, classes)
        self._right = numbers(networks)
        self._nll = numbers(networks)
        self._brier = numbers(networks)
        self._gaps = numbers(networks, CALIBRATION_BINS)

    def update(self, outputs: Tensor, first_network: int, first_example: int) -> None:
        """Take in the logits [networks, examples, classes] of a chunk.

        Chunks of the same examples must come in the order of their networks.
        """
        count, examples, classes = outputs.shape
        places = slice(first_example, first_example + examples)
        labels = self._labels[places]
        p = outputs.double().softmax(-1)
        confidence, answers = p.max(-1)
        self._single(p, confidence, answers, labels, first_network)
        buckets = self._bucket[first_network : first_network + count]
        for bucket in range(int(buckets[0]) if count else 0, min(int(buckets[-1]) + 1, len(self.sizes))):
            rows = buckets == bucket
            if not bool(rows.any()):
                continue
            own = p[rows]
            self._probability[bucket, places] += own.sum(0)
            self._votes[bucket, places] += F.one_hot(answers[rows], classes).sum(0).int()
            self._entropy[bucket, places] += entropy_of(own).sum(0)
            best, which = confidence[rows].max(0)
            better = best > self._confidence[bucket, places]
            chosen = own.gather(0, which[None, :, None].expand(1, examples, classes))[0]
            self._confident[bucket, places] = torch.where(better[:, None], chosen, self._confident[bucket, places])
            self._confidence[bucket, places] = torch.where(better, best, self._confidence[bucket, places])

    def _single(self, p: Tensor, confidence: Tensor, answers: Tensor, labels: Tensor, first: int) -> None:
        rows = slice(first, first + len(p))
        right = (answers == labels).double()
        self._right[rows] += right.sum(1)
        self._nll[rows] -= log_likelihoods(p, labels).sum(1)
        self._brier[rows] += brier_scores(p, labels).sum(1)
        self._gaps[rows].scatter_add_(1, calibration_bins(confidence), right - confidence)

    def singles(self) -> dict[str, Tensor]:
        """Return `accuracy`, `nll`, `brier` and `ece` of each single network, [networks] each."""
        examples = len(self._labels)
        return {
            "accuracy": self._right / examples,
            "nll": self._nll / examples,
            "brier": self._brier / examples,
            "ece": self._gaps.abs().sum(1) / examples,
        }

    def log_probabilities(self) -> Tensor:
        """Return the logarithms of the ensembles' mean probabilities, [sizes, examples, classes]."""
        sizes = torch.tensor(self.sizes, device=self._labels.device)[:, None, None]
        mean: Tensor = self._probability.cumsum(0) / sizes
        return mean.clamp(min=torch.finfo(torch.float64).tiny).log()

    def ensembles(self, temperatures: Sequence[float] | None = None) -> dict[str, list[dict[str, float]]]:
        """Return the metrics of the ensemble of each size, under each of `RULES`, and its `uncertainty`.

        With `temperatures`, one for each size, `mean_probability` also has `calibrated_nll`, `calibrated_brier` and
        `calibrated_ece`. The probabilities of `majority` are the shares of votes; its `nll` is left out, since it is
        infinite where a label has no vote. `uncertainty` has `disagreement`, the probability that two different
        networks give different answers to an example, and the means over the examples of `entropy` H[p̄] and of
        `mutual_information` H[p̄] − mean H[p], in nats.
        """
        votes = self._votes.cumsum(0).double()
        logs = self.log_probabilities()
        entropies = self._entropy.cumsum(0)
        found: dict[str, list[dict[str, float]]] = {rule: [] for rule in (*RULES, "uncertainty")}
        confidence, confident = self._confidence[0], self._confident[0]
        for place, size in enumerate(self.sizes):
            shares = votes[place] / size
            by_vote = results_of(shares, self._labels)
            del by_vote["nll"]
            found["majority"].append(by_vote)
            mean = logs[place].exp()
            by_mean = results_of(mean, self._labels)
            if temperatures is not None:
                scaled = results_of(at_temperature(logs[place], temperatures[place]), self._labels)
                by_mean |= {f"calibrated_{name}": scaled[name] for name in ("nll", "brier", "ece")}
            found["mean_probability"].append(by_mean)
            better = self._confidence[place] > confidence
            confidence = torch.where(better, self._confidence[place], confidence)
            confident = torch.where(better[:, None], self._confident[place], confident)
            found["most_confident"].append(results_of(confident, self._labels))
            entropy = entropy_of(mean)
            found["uncertainty"].append(
                {
                    "disagreement": disagreement(votes[place], size),
                    "entropy": float(entropy.mean()),
                    "mutual_information": float(mutual_information(entropy, entropies[place] / size).mean()),
                }
            )
        return found


def temperatures(meter: GrowthMeter, labels: Tensor) -> list[float]:
    """Fit a temperature for the ensemble of each size on the validation examples that a meter has seen."""
    return [fit_temperature(logs, labels) for logs in meter.log_probabilities()]


def growing_sizes(largest: int) -> list[int]:
    """Return the sizes 1, 2, 5, 10, 20, 50, … up to the largest, which is always one of them.

    Example:
        >>> growing_sizes(60)
        [1, 2, 5, 10, 20, 50, 60]
    """
    steps = [factor * 10**power for power in range(int(math.log10(largest)) + 1) for factor in (1, 2, 5)]
    return [*(size for size in steps if size < largest), largest]


def spread(values: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each metric over draws.

    Example:
        >>> spread([{"ece": 1.0}, {"ece": 3.0}])
        {'ece': {'mean': 2.0, 'std': 1.0}}
    """
    found = {}
    for name in values[0]:
        column = torch.tensor([float(one[name]) for one in values], dtype=torch.float64)
        found[name] = {"mean": float(column.mean()), "std": float(column.std(correction=0))}
    return found
