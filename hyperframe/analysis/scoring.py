"""Networks measured on some of the examples of a split: each by itself, and the predictions of all together."""

import attrs
import torch
from torch import Tensor

from hyperframe.networks.sampled import Networks
from hyperframe.runtime.rng import stream
from hyperframe.tasks.calibration import entropy_of, mutual_information
from hyperframe.types import Data


def some_examples(data: Data, count: int, seed: int) -> Data:
    """Draw `count` examples without replacement, the same ones for the same seed; all examples if there are fewer.

    Example:
        >>> len(some_examples(Data(torch.zeros(9, 2), torch.zeros(9)), 4, seed=0))
        4
    """
    if count >= len(data):
        return data
    return data[some_numbers(len(data), count, seed).to(data.device)]


def some_numbers(examples: int, count: int, seed: int) -> Tensor:
    """Return the numbers of the examples that `some_examples` draws, int64; all in their order if there are fewer."""
    if count >= examples:
        return torch.arange(examples)
    return torch.randperm(examples, generator=stream(seed, "items"))[:count]


@torch.no_grad()
def mean_scores(networks: Networks, data: Data) -> tuple[Tensor, Tensor]:
    """Return each network's loss and score (such as the accuracy), averaged over the examples.

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


@attrs.frozen(kw_only=True, eq=False)
class Predictions:
    """Class probabilities that networks predict for some examples; float64 on the CPU.

    Attributes:
        mean: the mean probabilities p̄ of all networks, [examples, classes].
        entropy: the mean over the networks of the entropy H[p] in nats, [examples].
        singles: the probabilities of the first few networks, [singles, examples, classes].
    """

    mean: Tensor
    entropy: Tensor
    singles: Tensor

    @property
    def total(self) -> Tensor:
        """The predictive entropy H[p̄] in nats, [examples]: the ensemble's whole uncertainty."""
        return entropy_of(self.mean)

    @property
    def mutual_information(self) -> Tensor:
        """H[p̄] − mean H[p] in nats, [examples]: the part of `total` that comes from the networks' disagreement."""
        return mutual_information(self.total, self.entropy)


def predict(networks: Networks, x: Tensor, singles: int) -> Predictions:
    """Run all networks on inputs [examples, *input_shape], in one pass and with little memory.

    The mean is taken chunk by chunk; the probabilities of single networks are kept for the first `singles` only.
    """
    examples, classes = len(x), networks.target.spec.num_outputs
    mean, entropy = torch.zeros(examples, classes, dtype=torch.float64), torch.zeros(examples, dtype=torch.float64)
    some = torch.zeros(min(singles, len(networks)), examples, classes, dtype=torch.float64)
    for first, first_example, outputs in networks.chunks(x):
        own = slice(first_example, first_example + outputs.shape[1])
        probabilities = outputs.double().softmax(-1).cpu()
        mean[own] += probabilities.sum(0)
        entropy[own] += entropy_of(probabilities).sum(0)
        kept = probabilities[: max(0, len(some) - first)]
        some[first : first + len(kept), own] = kept
    return Predictions(mean=mean / len(networks), entropy=entropy / len(networks), singles=some)
