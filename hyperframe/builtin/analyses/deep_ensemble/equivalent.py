"""The deep-ensemble equivalent: how many independently trained networks an ensemble is worth."""

from collections.abc import Sequence

import attrs
from torch import Tensor

from hyperframe.analysis.bootstrap import mean_interval


@attrs.frozen
class Equivalent:
    """A number of independently trained networks.

    Attributes:
        networks: how many, interpolated between the sizes that were measured.
        bound: "below" if even the smallest deep ensemble is better than the ensemble; "above" if all of them are worse;
            "saturated" if the ensemble is as good as one from which on more networks are no measurable gain; else "".
    """

    networks: float
    bound: str = ""

    def __str__(self) -> str:
        if self.bound == "saturated":
            return f"{self.networks:.3g} or more networks (saturated)"
        number = f"{self.networks:.3g}"
        words = {"below": "fewer than ", "above": "more than "}
        return f"{words.get(self.bound, '')}{number} {'network' if number == '1' else 'networks'}"


def saturation(nlls: Tensor) -> int:
    """Return the place of the smallest deep ensemble that is not measurably worse than the best one.

    Its paired difference to the best one has a 95 % bootstrap interval over examples that reaches zero. From there on
    the curve of the sizes is flat within its error, and says no more about a number of networks.

    Args:
        nlls: negative log-likelihoods [sizes, examples].

    Example:
        >>> import torch
        >>> level, noise = torch.tensor([[3.0], [1.0], [0.9]]), torch.linspace(-1, 1, 50)
        >>> saturation(level + noise * torch.tensor([[1.0], [1.0], [-1.0]]))
        1
    """
    best = nlls[nlls.mean(1).argmin()]
    return next(place for place, one in enumerate(nlls) if mean_interval((one - best)[None])[0] <= 0)


def deep_ensemble_equivalent(nll: float, sizes: Sequence[int], reference: Sequence[float], flat: int) -> Equivalent:
    """Return the size of the smallest deep ensemble that is as good: the deep-ensemble equivalent.

    DEE = min {n : NLL_reference(n) ≤ NLL}. The reference's curve is first made monotone, each size counting as the best
    one up to it, and is linear between the sizes.

    Args:
        nll: calibrated negative log-likelihood of the ensemble.
        sizes: numbers of independently trained networks, increasing.
        reference: calibrated negative log-likelihood of the deep ensemble of each size.
        flat: the place of the size from which on the curve is flat within its error; see `saturation`.

    References: A. Ashukha, A. Lyzhov, D. Molchanov, D. Vetrov (2020), Pitfalls of In-Domain Uncertainty Estimation and
    Ensembling in Deep Learning, section 5.

    Example:
        >>> nlls = (0.5, 0.3, 0.05)
        >>> [str(deep_ensemble_equivalent(nll, [2, 4, 8], [0.4, 0.2, 0.1], flat=2)) for nll in nlls]
        ['fewer than 2 networks', '3 networks', 'more than 8 networks']
        >>> str(deep_ensemble_equivalent(0.05, [2, 4, 8], [0.4, 0.2, 0.19], flat=1))
        '4 or more networks (saturated)'
    """
    best = float("inf")
    falling = [best := min(best, value) for value in reference]
    if nll > falling[0]:
        return Equivalent(float(sizes[0]), "below")
    if nll <= falling[flat] and flat < len(sizes) - 1:
        return Equivalent(float(sizes[flat]), "saturated")
    place = next((place for place, value in enumerate(falling) if nll >= value), None)
    if place is None:
        return Equivalent(float(sizes[-1]), "above")
    before, after = max(place - 1, 0), falling[place]
    part = (nll - after) / (falling[before] - after) if falling[before] > after else 0.0
    return Equivalent(sizes[place] - part * (sizes[place] - sizes[before]))
