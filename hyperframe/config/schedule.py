"""The learning rate as a function of the step."""

import math
from fractions import Fraction

from hyperframe.config.sections import TrainerOptions

FINAL_PART = 1e-3
"""The last rate of a one-cycle schedule, as a part of its highest."""


def tail_start(part: float, steps: int) -> int:
    """The first of the steps, counted from 0, that lies in their last part, for the part that is written.

    Example:
        >>> tail_start(0.3, 10), tail_start(0.7, 10)      # 1 − 0.7 is a rounding error more than 0.3
        (7, 3)
    """
    return math.ceil((1 - Fraction(repr(float(part)))) * steps)


def rate_at(step: int, options: TrainerOptions) -> float:
    """The rate of the optimiser step with this number, counted from 0.

    `exponential` is rate · decay^(step + 1), as in the authors' program, which decays before each step; `one_cycle`
    rises along a cosine for the first `warmup` of the steps and falls along one to a thousandth (L. Smith, N. Topin,
    2018, Super-Convergence); `one_cycle_tail` has the cycle in the first part of the steps and then a constant rate, at
    which weights wander about their basin (W. Maddox et al., 2019); `cyclic` falls along a cosine from the highest to
    zero in each of `cycles` equal parts of the steps (G. Huang et al., 2017, Snapshot Ensembles).

    Example:
        >>> round(rate_at(12_999, TrainerOptions(steps=13_000)) / 3e-4, 3)
        0.771
    """
    if options.schedule == "constant":
        return options.rate
    if options.schedule == "exponential":
        return options.rate * options.decay ** (step + 1)
    if options.schedule == "cyclic":
        cycle = options.cycle_at(step)
        return options.rate * (1 + math.cos(math.pi * (step - cycle.start) / len(cycle))) / 2
    steps = options.steps
    if options.schedule == "one_cycle_tail":
        steps = tail_start(options.tail, steps)
        if step >= steps:
            return options.tail_rate * options.rate
    rising = options.warmup * steps
    if step < rising:
        return options.rate * (1 - math.cos(math.pi * (step + 1) / (rising + 1))) / 2
    done = (step - rising) / max(steps - 1 - rising, 1)
    return options.rate * (FINAL_PART + (1 - FINAL_PART) * (1 + math.cos(math.pi * done)) / 2)
