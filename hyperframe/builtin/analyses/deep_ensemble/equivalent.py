"""The deep-ensemble equivalent: how many independently trained networks an ensemble is worth."""

from collections.abc import Sequence

import attrs


@attrs.frozen
class Equivalent:
    """A number of independently trained networks.

    Attributes:
        networks: how many, interpolated between whole numbers; at most as many as were measured, and at least 1.
        bound: "below" if even one of them is better than the ensemble, "above" if all of them together are worse, else
            "".
    """

    networks: float
    bound: str = ""

    def __str__(self) -> str:
        words = {"below": "fewer than ", "above": "more than "}.get(self.bound, "")
        return f"{words}{self.networks:.3g}"


def deep_ensemble_equivalent(nll: float, reference: Sequence[float]) -> Equivalent:
    """Return the size of the smallest deep ensemble that is as good: the deep-ensemble equivalent.

    DEE = min {l : NLL_reference(l) ≤ NLL}. The reference's curve is first made monotone, each size counting as the best
    one up to it, and is linear between whole sizes.

    Args:
        nll: calibrated negative log-likelihood of the ensemble, at its best temperature.
        reference: the same of deep ensembles of 1, 2, 3, … independently trained networks.

    References: A. Ashukha, A. Lyzhov, D. Molchanov, D. Vetrov (2020), Pitfalls of In-Domain Uncertainty Estimation and
    Ensembling in Deep Learning, section 5.

    Example:
        >>> [str(deep_ensemble_equivalent(nll, [0.4, 0.2, 0.1])) for nll in (0.3, 0.2, 0.5, 0.05)]
        ['1.5', '2', 'fewer than 1', 'more than 3']
    """
    best = float("inf")
    falling = [best := min(best, value) for value in reference]
    if nll > falling[0]:
        return Equivalent(1.0, "below")
    for place, value in enumerate(falling):
        if nll >= value:
            before = falling[max(place - 1, 0)]
            part = (nll - value) / (before - value) if before > value else 0.0
            return Equivalent(place + 1 - part)
    return Equivalent(float(len(falling)), "above")
