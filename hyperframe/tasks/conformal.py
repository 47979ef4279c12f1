"""Split conformal prediction: sets of classes, or intervals of values, that hold the label with a chosen probability.

A score says how badly a label fits an input. The threshold is the k-th smallest score of n calibration examples,
k = ⌈(n + 1)(1 − α)⌉, and what is predicted of a new input are all labels whose scores are not above it. Where
calibration examples and the new one are exchangeable, its label is among them with a probability of at least 1 − α,
whatever the network is; and of at most 1 − α + 1/(n + 1) where no two scores are equal. The probability is over
calibration examples too: given these, the coverage is distributed as Beta(k, n + 1 − k).

References: V. Vovk, A. Gammerman, G. Shafer (2005), Algorithmic Learning in a Random World; A. N. Angelopoulos,
S. Bates (2023), Conformal Prediction: A Gentle Introduction.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

SCORES = ("lac", "aps")
"""Scores of classes: those of `lac_scores`, and those of `aps_scores`."""


def rank(examples: int, alpha: float) -> int:
    """The k = ⌈(n + 1)(1 − α)⌉ of n examples, for the α that is written; n + 1 where n is too small for it.

    Raises:
        ValueError: α is not between 0 and 1.

    Example:
        >>> rank(9, 0.1), rank(99, 0.07), rank(8, 0.1)      # 100 · (1 − 0.07) is 93, and not a rounding error more
        (9, 93, 9)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a number above 0 and below 1, but got {alpha!r}")
    return math.ceil((examples + 1) * (1 - Fraction(repr(float(alpha)))))


def fewest_examples(alpha: float) -> int:
    """The fewest calibration examples with which a threshold is finite: ⌈1/α⌉ − 1.

    Example:
        >>> fewest_examples(0.1), fewest_examples(0.03)
        (9, 33)
    """
    return math.ceil(1 / Fraction(repr(float(alpha)))) - 1


def threshold_of(scores: Tensor, alpha: float) -> Tensor:
    """The k-th smallest of scores [examples, ...], see `rank`: [...]; infinite where there are fewer than k.

    Example:
        >>> threshold_of(torch.tensor([4.0, 1.0, 3.0, 2.0]), 0.4), threshold_of(torch.ones(4), 0.1)
        (tensor(3.), tensor(inf))
    """
    place = rank(len(scores), alpha)
    if place > len(scores):
        return torch.full_like(scores[0], math.inf)
    return scores.kthvalue(place, dim=0).values


def deviation_of_coverage(examples: int, alpha: float) -> float:
    """The standard deviation of the coverage over draws of n calibration examples: that of Beta(k, n + 1 − k).

    It is 0 where n is too small for α, since all labels are then predicted.

    Example:
        >>> round(deviation_of_coverage(1000, 0.1), 4)
        0.0095
    """
    k = rank(examples, alpha)
    return math.sqrt(k * (examples + 1 - k) / ((examples + 1) ** 2 * (examples + 2)))


def lac_scores(probabilities: Tensor) -> Tensor:
    """The score 1 − p of each class, [..., classes]; its sets are the smallest on average where p is right.

    A set is empty where no class is probable enough. LAC: least ambiguous set-valued classifier.

    References: M. Sadinle, J. Lei, L. Wasserman (2019), Least Ambiguous Set-Valued Classifiers With Bounded Error
    Levels.
    """
    return 1 - probabilities


def aps_scores(probabilities: Tensor, u: Tensor) -> Tensor:
    """The score of each class: all probability of more probable ones, and a part u of its own; [..., classes].

    Sets grow where an input is difficult, which evens out how often they are right for easy and difficult ones. Without
    the random part u the most probable class would always count whole: where networks are sure, the threshold is then
    almost 1, and sets hold classes that nobody would name. APS: adaptive prediction sets.

    Args:
        probabilities: [..., classes].
        u: uniform numbers in [0, 1), independent of all else, [...]; of calibration examples too.

    References: Y. Romano, M. Sesia, E. J. Candès (2020), Classification with Valid and Adaptive Coverage.

    Example:
        >>> aps_scores(torch.tensor([0.25, 0.5, 0.25]), torch.tensor(0.5))
        tensor([0.6250, 0.2500, 0.6250])
    """
    ordered = probabilities.sort(-1).values
    tails = ordered.flip(-1).cumsum(-1).flip(-1)  # from each on, the most probable last
    tails = torch.cat([tails, torch.zeros_like(tails[..., :1])], -1)
    more_probable = tails.gather(-1, torch.searchsorted(ordered, probabilities, right=True))
    return more_probable + u[..., None] * probabilities


def of_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """The scores of labels: [..., examples, classes] and int64 [examples] give [..., examples]."""
    return scores.gather(-1, labels.expand(scores.shape[:-1])[..., None])[..., 0]


def residual_scores(mean: Tensor, deviation: Tensor, values: Tensor) -> Tensor:
    """The score |y − mean| / deviation of values y, of one shape; without a deviation it is 0 or infinite.

    References: H. Papadopoulos, A. Gammerman, V. Vovk (2008), Normalized Nonconformity Measures for Regression
    Conformal Prediction; J. Lei et al. (2018), Distribution-Free Predictive Inference for Regression, section 5.2.
    """
    residuals = (values - mean).abs()
    return torch.where(residuals == 0, residuals, residuals / deviation)


def intervals(mean: Tensor, deviation: Tensor, threshold: Tensor) -> Tensor:
    """The values whose score is not above a threshold: mean ± threshold · deviation, [..., 2].

    Example:
        >>> intervals(torch.tensor([1.0, 1.0]), torch.tensor([2.0, 0.0]), torch.tensor(3.0)).tolist()
        [[-5.0, 7.0], [1.0, 1.0]]
    """
    half = torch.where(threshold.isinf(), threshold, threshold * deviation)
    return torch.stack([mean - half, mean + half], -1)
