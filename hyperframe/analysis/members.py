"""An ensemble's probabilities of classes, and those of a few of its members, in one pass and in little memory."""

import attrs
import torch
from torch import Tensor

from hyperframe.networks.sampled import Networks
from hyperframe.tasks.calibration import entropy_of, mutual_information


@attrs.frozen(kw_only=True, eq=False)
class Predicted:
    """What networks say of examples; float64 on the CPU.

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
        """The predictive entropy H[p̄] in nats, [examples]: how uncertain the ensemble is."""
        return entropy_of(self.mean)

    @property
    def mutual_information(self) -> Tensor:
        """The part H[p̄] − mean H[p] of it that comes from the networks' disagreement, [examples]."""
        return mutual_information(self.total, self.entropy)


def predicted(networks: Networks, x: Tensor, singles: int) -> Predicted:
    """Run all networks on inputs [examples, *input_shape]; keep the probabilities of the first `singles` of them."""
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
    return Predicted(mean=mean / len(networks), entropy=entropy / len(networks), singles=some)
