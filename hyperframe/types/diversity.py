"""The base class of diversity terms, and what they may look at."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from hyperframe.types.data import Data, Weights
from hyperframe.types.task import Task


@attrs.frozen(kw_only=True, eq=False)
class DiversityInputs:
    """Everything that a diversity term may look at; what it does not list in `needs` is None.

    Attributes:
        z: latent vectors, shape [batch, ...].
        generator: the generator itself, a `hyperframe.Generator`; what a term does with it reaches its parameters
            directly.
        weights: raw weights, differentiable.
        flat: the weights after the gauge, one row a network, shape [batch, num_weights], differentiable; without layers
            that are drawn and not trained (`TargetSpec.drawn`).
        gauged: makes such rows of any weights, for terms that look at how the generator moves them.
        outputs: of all networks on the term's inputs, shape [batch, examples, num_outputs, *output_places],
            differentiable; the target runs in training mode.
        labels: of the examples that `DiversityTerm.inputs` was given, shape [examples, ...].
        task: what outputs mean.
        dimension: the dimension of the manifold the generator draws from; always there.
        directions: in how many directions gauged weights can differ; always there.
        rng: a random generator on the weights' device.
    """

    z: Tensor | None = None
    generator: nn.Module | None = None
    weights: Weights | None = None
    flat: Tensor | None = None
    gauged: Callable[[Weights], Tensor] | None = None
    outputs: Tensor | None = None
    labels: Tensor | None = None
    task: Task | None = None
    dimension: int = 0
    directions: int = 0
    rng: torch.Generator | None = None


class DiversityTerm:
    """A term of the loss that is small where the networks of a batch are diverse. The base class of such terms.

    Attributes:
        needs: names of `DiversityInputs`' fields that must be filled.
        minimum_networks: the fewest networks in a batch it works on.
        own_gradient: True where its gradient is meant not to be that of its value, as with a bandwidth that is held.
        other_task: the task that an option names which was declared with `names_task`; set once the term is made.
    """

    needs: frozenset[str]
    minimum_networks: int = 1
    own_gradient: bool = False
    other_task: Task | None = None

    def inputs(self, shared: Data, rng: torch.Generator) -> Tensor:
        """Return the inputs [examples, *input_shape] on which a term that needs `outputs` compares the networks.

        By default the shared examples as they are, where networks should agree with the labels; terms that leave them
        so share one pass of the target. Elsewhere, such as on images with shuffled pixels, networks can differ at no
        cost in accuracy: `hyperframe.tasks.term_inputs` makes such inputs.

        Args:
            shared: `trainer.shared_examples` training examples, varied as the task does it; other ones in each step.
            rng: of all that is drawn, on their device.

        Raises:
            ConfigError: it cannot make them of such examples; all terms are tried before a run writes anything.
        """
        return shared.x

    @abstractmethod
    def __call__(self, inputs: DiversityInputs) -> Tensor:
        """The term's value, a scalar; on a CUDA device it is replayed, and not called again (`trainer.cuda_graph`)."""

    def departures(self, generator: Any) -> list[str] | None:
        """List what keeps it from being the negative entropy of the weights; None: it does not mean to be that.

        Args:
            generator: a `hyperframe.Generator`.
        """
        return None
