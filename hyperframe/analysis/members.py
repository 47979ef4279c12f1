"""An ensemble's probabilities of classes, and those of a few of its members, in one pass and in little memory."""

import attrs
import torch
from torch import Tensor

from hyperframe.networks.sampled import Networks
from hyperframe.tasks.calibration import entropy_of, mutual_information


@attrs.frozen(kw_only=True, eq=False)
class Predicted:
    """What networks say of items; float64 on the CPU.

    Attributes:
        mean: the mean probabilities p̄ of all networks, [items, classes].
        entropy: the mean over the networks of the entropy H[p] in nats, [items].
        singles: the probabilities of the first few networks, [singles, items, classes].
    """

    mean: Tensor
    entropy: Tensor
    singles: Tensor

    @property
    def total(self) -> Tensor:
        """The predictive entropy H[p̄] in nats, [items]: how uncertain the ensemble is."""
        return entropy_of(self.mean)

    @property
    def mutual_information(self) -> Tensor:
        """The part H[p̄] − mean H[p] of it that comes from the networks' disagreement, [items]."""
        return mutual_information(self.total, self.entropy)


def predicted(networks: Networks, x: Tensor, singles: int) -> Predicted:
    """Run all networks on inputs [items, *input_shape]; keep the probabilities of the first `singles` of them."""
    items, classes = len(x), networks.target.spec.num_outputs
    mean, entropy = torch.zeros(items, classes, dtype=torch.float64), torch.zeros(items, dtype=torch.float64)
    some = torch.zeros(min(singles, len(networks)), items, classes, dtype=torch.float64)
    for first, first_item, outputs in networks.chunks(x):
        own = slice(first_item, first_item + outputs.shape[1])
        probabilities = outputs.double().softmax(-1).cpu()
        mean[own] += probabilities.sum(0)
        entropy[own] += entropy_of(probabilities).sum(0)
        kept = probabilities[: max(0, len(some) - first)]
        some[first : first + len(kept), own] = kept
    return Predicted(mean=mean / len(networks), entropy=entropy / len(networks), singles=some)
