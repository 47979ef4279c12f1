"""Mean loss and mean score of every network by itself, on some of the examples of a split."""

import torch
from torch import Tensor

from hyperframe.networks.sampled import Networks
from hyperframe.runtime.rng import stream
from hyperframe.types import Data


def some_examples(data: Data, count: int, seed: int) -> Data:
    """Draw at most `count` examples without replacement, the same for the same seed; all where there are no more.

    Example:
        >>> len(some_examples(Data(torch.zeros(9, 2), torch.zeros(9)), 4, seed=0))
        4
    """
    if count >= len(data):
        return data
    chosen = torch.randperm(len(data), generator=stream(seed, "items"))[:count]
    return data[chosen.to(data.x.device)]


@torch.no_grad()
def mean_scores(networks: Networks, data: Data) -> tuple[Tensor, Tensor]:
    """Mean over the examples of the task's loss and of its score, such as the accuracy, of each network.

    Outputs are taken chunk by chunk, so that memory does not grow with networks × examples.

    Returns:
        Losses and scores, float64 [networks] each, on the CPU.
    """
    losses, scores = (torch.zeros(len(networks), dtype=torch.float64) for _ in range(2))
    for first, first_example, outputs in networks.chunks(data.x):
        rows = slice(first, first + len(outputs))
        labels = data.y[first_example : first_example + outputs.shape[1]].to(outputs.device)
        labels = labels.expand(len(outputs), *labels.shape)
        losses[rows] += networks.task.loss(outputs, labels).double().sum(1).cpu()
        scores[rows] += networks.task.score(outputs, labels).double().sum(1).cpu()
    return losses / len(data), scores / len(data)
