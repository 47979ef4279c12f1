"""The objective `trade_off`: accuracy against diversity (Eq. 1), with a λ that may rise and a bootstrap of the data."""

import math
from typing import Literal

import attrs
import torch
from torch import Tensor

from hyperframe import Component, Weights, hookimpl, option
from hyperframe.builtin.objectives.trade_off.bootstrap import Bootstrap
from hyperframe.types import Objective


@attrs.frozen(kw_only=True)
class Options:
    """Options of `trade_off`."""

    lambda_: float = option(1000.0, "λ of Eq. 1: the weight of accuracy against diversity", minimum=0)
    lambda_start: float | None = option(
        None, "λ of the first step, from which it goes to lambda; null: it stays constant", above=0
    )
    lambda_part: float = option(
        0.5, "the part of the steps in which λ goes from lambda_start to lambda", above=0, maximum=1
    )
    weight_l2: float = option(0.0, "factor of the mean squared norm of the weights", minimum=0)
    bootstrap: Literal["none", "bernoulli", "exponential"] = option(
        "none",
        "weights of the examples for each network, a function of its z; none: all 1; bernoulli: 2 for half of them, 0 "
        "for the others; exponential: exponentially distributed; keeps as many numbers an example as z has entries",
    )

    def __attrs_post_init__(self) -> None:
        if self.lambda_start is not None and not self.lambda_:
            raise ValueError("lambda_start: λ cannot go to a lambda of 0 along a geometric sequence")


class TradeOff(Objective):
    """Eq. 1 with a norm of the weights: λ · L_accuracy + weight_l2 · E‖θ‖² + L_diversity.

    With `lambda_start`, λ goes from there to `lambda` geometrically during the first `lambda_part` of the steps, and
    then stays. With `bootstrap`, L_accuracy is a mean over examples that count differently for each network.

    Example:
        >>> rising = TradeOff(Options(lambda_=1000, lambda_start=10, lambda_part=0.5))
        >>> [round(rising.accuracy_weight(step, 100, examples=7)) for step in (0, 25, 50, 99)]
        [10, 100, 1000, 1000]
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._bootstrap = Bootstrap(options.bootstrap) if options.bootstrap != "none" else None

    def accuracy_weight(self, step: int, steps: int, examples: int) -> float:
        """Return λ at a step, counted from 0; the number of training examples does not matter."""
        options = self.options
        if options.lambda_start is None:
            return options.lambda_
        done = min(step / (options.lambda_part * steps), 1.0)
        return math.exp((1 - done) * math.log(options.lambda_start) + done * math.log(options.lambda_))

    def example_weights(self, code: Tensor, ids: Tensor, examples: int, seed: int) -> Tensor | None:
        """Return the bootstrap's weights, [networks, batch]; None without one."""
        return None if self._bootstrap is None else self._bootstrap(code, ids, examples, seed)

    def cost(self, weights: Weights) -> Tensor | None:
        """Return `weight_l2` times the mean squared norm, a scalar; None if `weight_l2` is 0."""
        if not self.options.weight_l2:
            return None
        squares = torch.stack([theta.square().sum() for theta in weights.values()]).sum()
        return self.options.weight_l2 * squares / len(next(iter(weights.values())))


@hookimpl
def hyperframe_objectives() -> list[Component]:
    """Register the objective."""
    summary = "λ times the loss, optionally a factor times the weights' squared norm, and bootstrapped data"
    return [Component(name="trade_off", factory=TradeOff, options=Options, summary=summary, reference="Eq. 1")]
