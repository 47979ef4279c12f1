"""The objective `vi`: variational inference of the weights (section 3.2.4, appendix C)."""

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Weights, hookimpl, option
from hyperframe.builtin.objectives.vi.priors import PriorName, log_prior
from hyperframe.types import Objective


@attrs.frozen(kw_only=True)
class Options:
    """Options of `vi`."""

    trust: float = option(1.0, "λ of appendix D: the likelihood to this power; 1 is Bayes' law", above=0)
    prior: PriorName = option("gaussian", "prior density of each weight")
    prior_std: float = option(1.0, "standard deviation of the prior; of the mixture's wide part", above=0)
    narrow_std: float = option(0.1, "scale_mixture: standard deviation of the narrow part", above=0)
    narrow_part: float = option(0.5, "scale_mixture: weight of the narrow part", above=0, below=1)


class VariationalInference(Objective):
    """n · NLL − E log prior(θ) − H, with n training examples.

    With a loss that is a negative log-likelihood, no gauge, and the weights' entropy with weight 1 as the only
    diversity term, this is the negative evidence lower bound, n · NLL + KL(q ‖ prior). In Eq. 10 and 12 the signs of
    the prior and of log q are printed the wrong way round. `trust` is the λ of appendix D, which tempers the
    likelihood.

    Example:
        >>> VariationalInference(Options(trust=0.5)).accuracy_weight(0, 100, examples=300)
        150.0
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        """Return `trust` times the number of training examples, at every step."""
        return self.options.trust * examples

    def cost(self, weights: Weights) -> Tensor | None:
        """Return −E log prior of the weights, a scalar in nats."""
        options = self.options
        given = {"std": options.prior_std, "narrow_std": options.narrow_std, "narrow_part": options.narrow_part}
        logs = [log_prior(theta, options.prior, **given).sum() for theta in weights.values()]
        return -torch.stack(logs).sum() / len(next(iter(weights.values())))

    def departures(self) -> list[str] | None:
        """List the options that keep the loss from being the negative evidence lower bound."""
        reasons = []
        if self.options.trust != 1:
            reasons.append(f"objective.trust={self.options.trust:g} tempers the likelihood")
        if self.options.prior == "flat":
            reasons.append("the prior is flat, which is no density")
        return reasons


@hookimpl
def hyperframe_objectives() -> list[Component]:
    """Register the objective."""
    summary = "n times the negative log-likelihood, minus the log prior: variational inference"
    return [
        Component(
            name="vi", factory=VariationalInference, options=Options, summary=summary, reference="3.2.4, appendix C"
        )
    ]
