"""How often conformal sets and intervals hold the label, and how large they are."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from hyperframe.tasks.conformal import intervals, of_labels, residual_scores, threshold_of


def measure_sets(
    known: Tensor, known_labels: Tensor, asked: Tensor, labels: Tensor, alphas: Sequence[float]
) -> list[dict[str, Any]]:
    """Calibrate sets of classes, each network by itself, and measure them; all figures are means over the networks.

    Args:
        known: scores of all classes of the calibration examples, [networks, examples, classes].
        known_labels: their labels, int64 [examples].
        asked: the same of the test examples.
        labels: likewise.
        alphas: for each of which a threshold is found.

    Returns:
        For each α: `coverage` and its `standard_error` over the test examples, the mean `size` of a set, the shares of
        `empty` sets and of `singletons`, and `by_class`: the coverage of each class, None where it has no example.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[[0.1, 0.9], [0.4, 0.6]]])
        >>> found, = measure_sets(scores, torch.tensor([0, 1]), scores, torch.tensor([0, 1]), [0.5])     # threshold 0.6
        >>> found["coverage"], found["size"], found["by_class"]
        (1.0, 1.5, [1.0, 1.0])
    """
    own, rows = of_labels(known, known_labels), []
    for alpha in alphas:
        sets = asked <= threshold_of(own.T, alpha)[:, None, None]
        covered, sizes = of_labels(sets, labels).double().mean(0), sets.sum(-1)
        by_class = [covered[labels == number] for number in range(sets.shape[-1])]
        rows.append(
            {
                "alpha": alpha,
                **_coverage(covered),
                "size": float(sizes.double().mean()),
                "empty": float((sizes == 0).double().mean()),
                "singletons": float((sizes == 1).double().mean()),
                "by_class": [float(of_class.mean()) if len(of_class) else None for of_class in by_class],
            }
        )
    return rows


def measure_intervals(
    known: tuple[Tensor, Tensor, Tensor], asked: tuple[Tensor, Tensor, Tensor], alphas: Sequence[float]
) -> list[dict[str, Any]]:
    """Calibrate intervals of values, each network and each value by itself, and measure them.

    Args:
        known: of the calibration examples the predictions and the deviations that widths are multiples of, [networks,
            examples, values] each, and the true values, [examples, values].
        asked: the same of the test examples.
        alphas: for each of which thresholds are found.

    Returns:
        For each α: `coverage` and its `standard_error` over the test examples, the mean `width`, and `by_value`, the
        coverage of each value.

    Example:
        >>> import torch
        >>> known = torch.zeros(1, 3, 1), torch.ones(1, 3, 1), torch.tensor([[1.0], [-2.0], [3.0]])
        >>> found, = measure_intervals(known, known, [0.5])     # threshold 2
        >>> round(found["coverage"], 3), found["width"]
        (0.667, 4.0)
    """
    scores = residual_scores(*known)
    mean, deviation, values = asked
    rows = []
    for alpha in alphas:
        threshold = threshold_of(scores.movedim(1, 0), alpha)[:, None]
        ends = intervals(mean, deviation, threshold)
        # By scores, as it was calibrated: ends are rounded.
        inside = (residual_scores(mean, deviation, values) <= threshold).double().mean(0)
        rows.append(
            {
                "alpha": alpha,
                **_coverage(inside.mean(-1)),
                "width": float((ends[..., 1] - ends[..., 0]).mean()),
                "by_value": inside.mean(0).tolist(),
            }
        )
    return rows


def _coverage(covered: Tensor) -> dict[str, float]:
    """The mean over the examples, and its standard error."""
    deviation = float(covered.std(correction=0)) if len(covered) else 0.0
    return {"coverage": float(covered.mean()), "standard_error": deviation / len(covered) ** 0.5}
