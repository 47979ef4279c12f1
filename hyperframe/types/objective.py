"""The base class of objectives: what accuracy, examples and weights count in the loss."""

from abc import abstractmethod

from torch import Tensor

from hyperframe.types.data import Weights


class Objective:
    """The parts of a generator's loss beside its diversity terms; the base class of such components.

    L(φ) = a(t) · E_z E_data v(z, x) loss(T(x; G(z))) + cost(G(z)) + Σ_j w_j L_diversity,j + penalty of G

    An objective says what accuracy counts in a step, a(t), what an example counts for a network, v(z, x), and what the
    weights themselves cost.

    Example:
        >>> class Halves(Objective):
        ...     def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        ...         return 2.0**-step
        >>> Halves().accuracy_weight(3, steps=10, examples=60000)
        0.125
    """

    @abstractmethod
    def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        """Say what the mean loss counts in a step.

        Args:
            step: counted from 0.
            steps: how many the training has.
            examples: how many training examples there are.
        """

    def example_weights(self, code: Tensor, ids: Tensor, examples: int, seed: int) -> Tensor | None:
        """Say what each example counts for each network, [networks, batch]; None: all count 1.

        It is a function of network and example alone, so that a network has the same data in every step, and 1 on
        average over the examples.

        Args:
            code: what tells the networks apart, `Generator.code` of their z, [networks, entries].
            ids: numbers of the examples in the training data, int64 [networks, batch].
            examples: how many training examples there are.
            seed: of the training, for what is drawn for each example.
        """
        return None

    def cost(self, weights: Weights) -> Tensor | None:
        """Return what the weights cost, the mean over the networks: a differentiable scalar, or None for nothing."""
        return None

    def departures(self) -> list[str] | None:
        """List what keeps the loss from being the negative evidence lower bound; None: it does not mean to be that."""
        return None
