"""Confusion matrices: how often a class is the label and another the answer; and the overlap of labels with answers."""

import torch
from torch import Tensor


def confusion_matrix(labels: Tensor, answers: Tensor, classes: int) -> Tensor:
    """Count the pairs of label and answer, of one network or of each of several.

    Args:
        labels: of examples, or of places that count, int64 [examples].
        answers: to the same, int64 [..., examples].
        classes: how many there are.

    Returns:
        Counts [..., labels, answers], int64.

    Example:
        >>> confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), classes=2)
        tensor([[1, 1],
                [0, 1]])
    """
    pairs = labels * classes + answers
    counts = pairs.new_zeros(*pairs.shape[:-1], classes * classes)
    return counts.scatter_add(-1, pairs, torch.ones_like(pairs)).view(*pairs.shape[:-1], classes, classes)


def mean_iou(confusion: Tensor) -> Tensor:
    """Mean intersection over union of the classes: counts [..., labels, answers] give float64 [...].

    Example:
        >>> mean_iou(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))      # ¾ and ⅘; of the third class there is none
        tensor(0.7750, dtype=torch.float64)
    """
    return iou_of_classes(confusion).nanmean(-1)


def iou_of_classes(confusion: Tensor) -> Tensor:
    """Intersection over union of each class, NaN for one that there is not: [..., labels, answers] give [..., classes].

    Example:
        >>> iou_of_classes(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
        tensor([0.7500, 0.8000,    nan], dtype=torch.float64)
    """
    both = confusion.diagonal(dim1=-2, dim2=-1).double()
    return both / (confusion.sum(-1) + confusion.sum(-2) - both)
