"""Calibration of probabilities of classes: log-likelihood, Brier score, calibration error, temperature."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hyperframe.runtime.rng import stream

CALIBRATION_BINS = 15

LOWEST = math.log(torch.finfo(torch.float64).tiny)
"""The logarithm of a probability counts as no less."""

COLDEST, HOTTEST = 0.02, 50.0
"""Between these temperatures the best one is looked for."""

HALVINGS = 50


def calibration_bins(confidence: Tensor) -> Tensor:
    """The bin (a, b] of each confidence, a number from 0 to 14: int64, of the same shape.

    Example:
        >>> calibration_bins(torch.tensor([0.0, 1 / 15, 0.07, 1.0])).tolist()
        [0, 0, 1, 14]
    """
    # Rounded, so that a confidence on an edge, such as 1/3, does not change its bin with the order of a sum.
    bins = (CALIBRATION_BINS * confidence).round(decimals=9).ceil().long() - 1
    return bins.clamp(0, CALIBRATION_BINS - 1)


def calibration_error(confidence: Tensor, right: Tensor) -> Tensor:
    """Expected calibration error of confidences [examples] in answers that are right (1) or wrong (0), a scalar.

    Examples are put into 15 equal bins (a, b] by their confidence; the error is the mean over the examples of
    |accuracy − confidence| of their bin.

    References: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration of Modern Neural Networks.

    Example:
        >>> round(float(calibration_error(torch.tensor([0.9, 0.9]), torch.tensor([1.0, 0.0]))), 4)
        0.4
    """
    gaps = confidence.new_zeros(CALIBRATION_BINS)
    gaps.index_add_(0, calibration_bins(confidence), right - confidence)
    return gaps.abs().sum() / len(confidence)


def reliability(confidence: Tensor, right: Tensor) -> list[dict[str, float]]:
    """Accuracy and mean confidence of the examples in each of the 15 bins of `calibration_error` that holds any.

    Confidences and right answers (1, else 0) are [examples]; `confidence`, `accuracy` and `examples` of each bin are
    what a reliability diagram draws.

    Example:
        >>> reliability(torch.tensor([0.3, 0.9, 0.9]), torch.tensor([0.0, 1.0, 0.0]))[1]["accuracy"]
        0.5
    """
    bins = calibration_bins(confidence)
    found = []
    for number in bins.unique().tolist():
        own = bins == number
        means = {"confidence": float(confidence[own].double().mean()), "accuracy": float(right[own].double().mean())}
        found.append({**means, "examples": int(own.sum())})
    return found


def auroc(scores: Tensor, positive: Tensor) -> float | None:
    """The probability that a positive example has a higher score than another one, of equal scores one half.

    None where all or none of the examples [examples] are positive (true).

    Example:
        >>> auroc(torch.tensor([0.1, 0.4, 0.9]), torch.tensor([False, True, True]))
        1.0
    """
    own, others = scores[positive].double(), scores[~positive].double().sort().values
    if not len(own) or not len(others):
        return None
    below, up_to = (torch.searchsorted(others, own, right=right) for right in (False, True))
    return float((below + up_to).double().mean() / (2 * len(others)))


def entropy_of(probabilities: Tensor) -> Tensor:
    """Entropy in nats over the last axis; 0 · log 0 is 0.

    Example:
        >>> entropy_of(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist()
        [0.0, 0.6931471824645996]
    """
    entropy: Tensor = torch.special.entr(probabilities).sum(-1)
    return entropy


def entropy_of_logits(logits: Tensor) -> Tensor:
    """Entropy in nats of softmax probabilities, over the last axis; its gradient is finite where one of them is zero.

    Example:
        >>> entropy_of_logits(torch.tensor([[3.0, 3.0], [1.0, 0.0]]))
        tensor([0.6931, 0.5822])
    """
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


def mutual_information(total: Tensor, mean: Tensor) -> Tensor:
    """H[p̄] − mean H[p] in nats, [...]: the part of the entropy of mean probabilities that is disagreement.

    Args:
        total: the entropy H[p̄] of the networks' mean probabilities.
        mean: the mean over the networks of the entropy H[p].

    References: N. Houlsby, F. Huszár, Z. Ghahramani, M. Lengyel (2011), Bayesian Active Learning.
    """
    return (total - mean).clamp(min=0)  # below zero by rounding only


def disagreement(votes: Tensor, networks: int) -> float:
    """The probability that two different networks give different answers to an example; of one network alone 0.

    Args:
        votes: how many networks answer each example with each class, [examples, classes].
        networks: how many there are.

    Example:
        >>> round(disagreement(torch.tensor([[2, 1]]), 3), 4)
        0.6667
    """
    votes = votes.double()
    agreeing = (votes * (votes - 1)).sum(1).mean() / max(networks * (networks - 1), 1)  # ordered pairs of networks
    return float(1 - agreeing) if networks > 1 else 0.0


def log_likelihoods(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Logarithm of the probability of each label: [..., examples, classes] and [examples] give [..., examples].

    A probability of 0 counts as the smallest positive number, so that no figure is infinite.
    """
    index = labels.expand(probabilities.shape[:-1])[..., None]
    tiny = torch.finfo(probabilities.dtype).tiny
    return probabilities.gather(-1, index)[..., 0].clamp(min=tiny).log()


def brier_scores(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of probabilities [..., examples, classes] to one-hot labels, 0 to 2: [..., examples].

    References: G. W. Brier (1950), Verification of Forecasts Expressed in Terms of Probability.

    Example:
        >>> brier_scores(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([1, 1])).tolist()
        [2.0, 0.5]
    """
    index = labels.expand(probabilities.shape[:-1])[..., None]
    own = probabilities.gather(-1, index)[..., 0]
    return probabilities.square().sum(-1) - 2 * own + 1


def results_of(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, `nll` (nats), `brier` and `ece` of probabilities [examples, classes]."""
    probabilities = probabilities.double()
    confidence, answers = probabilities.max(-1)
    right = (answers == labels).double()
    return {
        "accuracy": float(right.mean()),
        "nll": float(-log_likelihoods(probabilities, labels).mean()),
        "brier": float(brier_scores(probabilities, labels).mean()),
        "ece": float(calibration_error(confidence, right)),
    }


def fit_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The temperature T with the best log-likelihood of softmax(log p / T) on examples [examples, classes].

    The mean log-likelihood is concave in 1/T, so the zero of its derivative is found by halving an interval in which
    it changes its sign. Where all answers are right, or labels are what no temperature helps with, T is at an end of
    [0.02, 50].

    References: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger (2017), On Calibration of Modern Neural Networks.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]]).repeat(4, 1)
        >>> sure = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))      # right three times in four
        >>> round(float((logits[0] / sure).softmax(0)[0]), 4)
        0.75
    """
    logits = log_probabilities.double().clamp(min=LOWEST)
    own = logits.gather(1, labels[:, None])[:, 0]
    low, high = logits.new_tensor([1 / HOTTEST, 1 / COLDEST]).unbind()
    for _ in range(HALVINGS):
        middle = (low * high).sqrt()
        slope = (own - ((logits * middle).softmax(-1) * logits).sum(-1)).mean()
        low, high = torch.where(slope > 0, middle, low), torch.where(slope > 0, high, middle)
    return float(1 / (low * high).sqrt())


def at_temperature(log_probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities softmax(log p / T), [..., classes]."""
    return (log_probabilities.double().clamp(min=LOWEST) / temperature).softmax(-1)


def held_out_likelihoods(
    log_probabilities: Tensor,
    labels: Tensor,
    others: tuple[Tensor, Tensor] | None = None,
    *,
    folds: int = 10,
    repeats: int = 1,
) -> Tensor:
    """The log-likelihood of each example at a temperature that others were fitted on, float64 [examples].

    The examples are put into folds at random. The temperature of a fold is fitted on all other folds, and on `others`
    where there are any. On a small validation set alone every answer may be right, and then the best temperature is
    zero; with the other folds this is rare.

    Args:
        log_probabilities: [examples, classes].
        labels: int64 [examples].
        others: more log-probabilities and labels that temperatures are fitted on, such as those of validation examples.
        folds: into how many parts the examples are put.
        repeats: how often they are, each time in another random order; log-likelihoods are averaged over the repeats.

    References: A. Ashukha, A. Lyzhov, D. Molchanov, D. Vetrov (2020), Pitfalls of In-Domain Uncertainty Estimation and
    Ensembling in Deep Learning, section 3, for two folds ("test-time cross-validation").

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]]).repeat(400, 1)
        >>> likelihoods = held_out_likelihoods(logits, torch.tensor([0, 0, 0, 1]).repeat(100))  # right 3 times in 4
        >>> round(-float(likelihoods.mean()), 2)
        0.56
    """
    found = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
    for number in range(repeats):
        order = torch.randperm(len(labels), generator=stream(number, "halves")).to(labels.device)
        parts = order.chunk(folds)
        for here, part in enumerate(parts):
            rest = torch.cat([order[:0], *parts[:here], *parts[here + 1 :]])
            known, right = log_probabilities[rest], labels[rest]
            if others is not None:
                known, right = torch.cat([known, others[0]]), torch.cat([right, others[1]])
            temperature = fit_temperature(known, right)
            found[part] += log_likelihoods(at_temperature(log_probabilities[part], temperature), labels[part]) / repeats
    return found


def summarise_classes(predictions: Tensor) -> dict[str, Tensor]:
    """Summarise probabilities [networks, ..., classes]: `probabilities` [..., classes], and all else [...].

    See `hyperframe.tasks.classification.ClassificationTask.summarise`.
    """
    mean = predictions.mean(0)
    votes = F.one_hot(predictions.argmax(-1), predictions.shape[-1]).sum(0)
    entropy = entropy_of(mean)
    return {
        "probabilities": mean,
        "vote": votes.argmax(-1),
        "entropy": entropy,
        "mutual_information": mutual_information(entropy, entropy_of(predictions).mean(0)),
    }
