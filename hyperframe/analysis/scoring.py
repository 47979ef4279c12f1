"""Mean loss and mean score of every network by itself, on some of the items of a split."""

import torch
from torch import Tensor

from hyperframe.networks.sampled import Networks
from hyperframe.runtime.rng import stream
from hyperframe.types import Data


def some_items(data: Data, count: int, seed: int) -> Data:
    """At most `count` items, drawn without replacement, the same ones for the same seed; all where there are no more.

    Example:
        >>> len(some_items(Data(torch.zeros(9, 2), torch.zeros(9)), 4, seed=0))
        4
    """
    if count >= len(data):
        return data
    chosen = torch.randperm(len(data), generator=stream(seed, "items"))[:count]
    return data[chosen.to(data.x.device)]


@torch.no_grad()
def mean_scores(networks: Networks, data: Data) -> tuple[Tensor, Tensor]:
    """Mean over the items of the task's loss and of its score, such as the accuracy, of each network.

    Outputs are taken chunk by chunk, so that memory does not grow with networks × items.

    Returns:
        Losses and scores, float64 [networks] each, on the CPU.
    """
    losses, scores = (torch.zeros(len(networks), dtype=torch.float64) for _ in range(2))
    for first, first_item, outputs in networks.chunks(data.x):
        rows = slice(first, first + len(outputs))
        labels = data.y[first_item : first_item + outputs.shape[1]].to(outputs.device)
        labels = labels.expand(len(outputs), *labels.shape)
        losses[rows] += networks.task.loss(outputs, labels).double().sum(1).cpu()
        scores[rows] += networks.task.score(outputs, labels).double().sum(1).cpu()
    return losses / len(data), scores / len(data)
