"""The formulas of the loss: what accuracy counts, and what the weights themselves cost."""

import math

import attrs
import torch
from torch import Tensor

from hyperframe.options import option
from hyperframe.priors import PriorName, log_prior
from hyperframe.types import Weights


@attrs.frozen(kw_only=True)
class Compromise:
    """Eq. 1 with a norm of the weights: λ · L_accuracy + weight_l2 · E‖θ‖² + L_diversity.

    With `lambda_start` λ goes from there to `lambda` along a geometric sequence, in the first `lambda_part` of the
    steps, and then stays.

    Example:
        >>> rising = Compromise(lambda_=1000, lambda_start=10, lambda_part=0.5)
        >>> [round(rising.accuracy_weight(step, 100, items=7)) for step in (0, 25, 50, 99)]
        [10, 100, 1000, 1000]
    """

    lambda_: float = option(1000.0, "λ of Eq. 1: what accuracy counts against diversity", minimum=0)
    lambda_start: float | None = option(None, "λ of the first step, from which it goes to lambda; null: no", above=0)
    lambda_part: float = option(
        0.5, "the part of the steps in which λ goes from lambda_start to lambda", above=0, maximum=1
    )
    weight_l2: float = option(0.0, "factor of the mean squared norm of the weights", minimum=0)

    def __attrs_post_init__(self) -> None:
        if self.lambda_start is not None and not self.lambda_:
            raise ValueError("lambda_start: λ cannot go to a lambda of 0 along a geometric sequence")

    def departures(self) -> list[str] | None:
        """None: it does not mean to bound the evidence, see `hyperframe.bound`."""
        return None

    def accuracy_weight(self, step: int, steps: int, items: int) -> float:
        """λ at a step, counted from 0, of so many steps; the number of training items does not matter."""
        if self.lambda_start is None:
            return self.lambda_
        done = min(step / (self.lambda_part * steps), 1.0)
        return math.exp((1 - done) * math.log(self.lambda_start) + done * math.log(self.lambda_))

    def cost(self, weights: Weights) -> Tensor | None:
        """What the weights cost, a scalar; None for nothing."""
        if not self.weight_l2:
            return None
        return self.weight_l2 * _mean_sum([theta.square() for theta in weights.values()])


@attrs.frozen(kw_only=True)
class Variational:
    """Variational inference (section 3.2.4, appendix C): n · NLL − E log prior(θ) − H, with n training items.

    With a loss that is a negative log-likelihood, no gauge, and the entropy of the weights as only diversity term, with
    weight 1, this is the negative evidence lower bound, n · NLL + KL(q ‖ prior). The signs of the prior and of log q
    are printed the wrong way round in Eq. 10 and 12. `trust` is the λ of appendix D, which tempers the likelihood.

    Example:
        >>> Variational(trust=0.5).accuracy_weight(0, 100, items=300)
        150.0
    """

    trust: float = option(1.0, "λ of appendix D: the likelihood to this power; 1 is Bayes' law", above=0)
    prior: PriorName = option("gaussian", "prior density of each weight")
    prior_std: float = option(1.0, "standard deviation of the prior; of the mixture's wide part", above=0)
    narrow_std: float = option(0.1, "scale_mixture: standard deviation of the narrow part", above=0)
    narrow_part: float = option(0.5, "scale_mixture: weight of the narrow part", above=0, below=1)

    def departures(self) -> list[str] | None:
        """Say which of its options keep the loss from being the negative evidence lower bound."""
        reasons = []
        if self.trust != 1:
            reasons.append(f"objective.trust={self.trust:g} tempers the likelihood")
        if self.prior == "flat":
            reasons.append("the prior is flat, and no density")
        return reasons

    def accuracy_weight(self, step: int, steps: int, items: int) -> float:
        """The number of training items times `trust`, at every step."""
        return self.trust * items

    def cost(self, weights: Weights) -> Tensor | None:
        """−E log prior of the weights, a scalar in nats."""
        given = {"std": self.prior_std, "narrow_std": self.narrow_std, "narrow_part": self.narrow_part}
        return -_mean_sum([log_prior(theta, self.prior, **given) for theta in weights.values()])


def _mean_sum(parts: list[Tensor]) -> Tensor:
    """The sum over all entries of [networks, …], as a mean over the networks."""
    return torch.stack([part.sum() for part in parts]).sum() / len(parts[0])


Formula = Compromise | Variational

FORMULAS: dict[str, type[Formula]] = {"compromise": Compromise, "vi": Variational}
"""By the name that `objective` gives."""


def name_of(formula: Formula) -> str:
    """The name of a formula."""
    return next(name for name, cls in FORMULAS.items() if type(formula) is cls)
