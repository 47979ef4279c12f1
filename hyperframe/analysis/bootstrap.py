"""Intervals of means by bootstrap, over examples and over what was repeated."""

import torch
from torch import Tensor

from hyperframe.runtime.rng import stream

RESAMPLES = 10_000


def mean_interval(values: Tensor) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values [repeats, examples], by bootstrap over both axes.

    Repeats (draws, seeds) and examples are drawn with replacement, each for itself, and the mean is taken of the values
    at which both meet; the interval lies between the 2.5 and the 97.5 percentile of these means. Of differences that
    are paired example by example it says whether they could be chance. The same values give the same interval.

    References: B. Efron, R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13; A. Owen (2007), The
    Pigeonhole Bootstrap, for two axes.

    Example:
        >>> [round(end, 2) for end in mean_interval(torch.tensor([[0.0, 1.0]]).repeat(1, 200))]
        [0.45, 0.55]
    """
    rng, (repeats, examples) = stream(0, "bootstrap"), values.shape
    values = values.double().cpu()
    means = values.new_empty(RESAMPLES)
    for number in range(RESAMPLES):
        rows = torch.randint(repeats, (repeats,), generator=rng).bincount(minlength=repeats).double()
        columns = torch.randint(examples, (examples,), generator=rng)
        means[number] = (rows @ values)[columns].mean() / repeats
    low, high = means.quantile(means.new_tensor([0.025, 0.975])).tolist()
    return low, high
