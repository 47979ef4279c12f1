"""The base class of entropy estimators."""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor


class EntropyEstimator:
    """Estimates the differential entropy of the distribution that samples come from. The base class of estimators.

    Where several processes train together, it gathers the samples of all (`hyperframe.runtime.distributed.gather`).

    Attributes:
        minimum_samples: the fewest samples it works on.
        distance: the metric in which it takes distances between samples; None where it takes none. `hyperframe bench
            distances` times it beside plainer ways of taking them.
    """

    minimum_samples: int
    distance: Literal["l1", "l2"] | None = None

    @abstractmethod
    def __call__(self, samples: Tensor, dimension: int, rng: torch.Generator | None = None) -> Tensor:
        """Entropy in nats, a scalar: samples [n, entries] on a manifold of the given dimension.

        Estimators that draw random numbers take them from `rng`, which lies on the samples' device; where it is None,
        from a generator of their own with a fixed seed, so that the result repeats.
        """

    def scale_degree(self, count: int, entries: int, dimension: int) -> int:
        """The g of the estimator's scale law H(aX) = H(X) + g · log a, for samples X [count, entries]."""
        return dimension

    def departures(self, entries: int, dimension: int) -> list[str]:
        """List what keeps the values from being Shannon's entropy of a density on so many entries.

        See `hyperframe.experiment.bound`. Nothing is taken for granted of an estimator that does not say.
        """
        return [f"the estimator {type(self).__name__} does not say that it estimates Shannon's entropy of any q"]
