"""Tell examples that are like the training data from others, by how uncertain networks are of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hyperframe.tasks.term_inputs import shuffle

KEPT = 0.95
"""The part of the examples inside that `fpr` keeps."""


def separation(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """Measure how well a score, such as an entropy, separates strange examples, where it should be high, from others.

    Examples inside are like the training data, those outside are strange. `auroc` is the probability that an example
    outside has a higher score than one inside, with ties counted half. `aupr` is the average precision with which
    examples outside are detected; guessing reaches their share of all examples. `fpr95` is the part of the examples
    outside that is taken to be inside at the threshold that keeps 95 % of those inside.

    Args:
        inside: scores of examples inside, [examples].
        outside: scores of examples outside, [other examples].

    References: D. Hendrycks, K. Gimpel (2017), A Baseline for Detecting Misclassified and Out-of-Distribution Examples
        in Neural Networks; S. Liang, Y. Li, R. Srikant (2018), Enhancing the Reliability of Out-of-distribution Image
        Detection in Neural Networks, for the rate at 95 %.

    Example:
        >>> separation(torch.tensor([0.1, 0.2]), torch.tensor([0.15, 0.9]))["auroc"]
        0.75
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve  # noqa: PLC0415  (slow to import)

    scores = torch.cat([inside, outside]).numpy()
    other = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).numpy()
    taken, kept, _ = roc_curve(1 - other, -scores, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(other, scores)),
        "aupr": float(average_precision_score(other, scores)),
        "fpr95": float(taken[kept >= KEPT - 1e-12][0]),
    }


def detection_rates(inside: Tensor, outside: Tensor, false_alarms: Sequence[float]) -> list[float]:
    """Return the part of the examples outside that is detected at each rate of false alarms inside: the ROC curve.

    Between two thresholds the curve is a straight line, which choosing between them at random reaches.

    Example:
        >>> detection_rates(torch.tensor([0.1, 0.2]), torch.tensor([0.15, 0.9]), [0.0, 0.25, 1.0])
        [0.5, 0.5, 1.0]
    """
    import numpy as np  # noqa: PLC0415  (beside what is slow to import)
    from sklearn.metrics import roc_curve  # noqa: PLC0415  (slow to import)

    scores = torch.cat([inside, outside]).numpy()
    other = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).numpy()
    alarms, found, _ = roc_curve(other, scores, drop_intermediate=False)
    # Of several thresholds with one rate of false alarms, `interp` takes the last, which detects the most.
    return [float(value) for value in np.interp(false_alarms, alarms, found)]


def make_strange(x: Tensor, low: float, high: float, rng: torch.Generator) -> dict[str, Tensor]:
    """Make strange images out of ordinary ones, without any further data.

    Args:
        x: images [examples, channels, height, width].
        low: the smallest number in the task's images.
        high: the greatest one.
        rng: on the images' device.

    Returns:
        Images of the same shape: `turned` by 90°, only if they are square; `inverted`, low + high − x; `shuffled`, with
        the pixels of each image in a random order of its own, the same for all channels; `noise`, uniform between low
        and high.
    """
    height, width = x.shape[-2:]
    shuffled = shuffle(x, rng)
    noise = low + (high - low) * torch.rand(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    turned = {"turned": x.rot90(1, (-2, -1))} if height == width else {}
    return {**turned, "inverted": low + high - x, "shuffled": shuffled, "noise": noise}
